// A conversation is a tree of turns: an edited question or a second answer is another child of the same parent.
// turn: {id, parent, role, content, model, kept} (kept: its id in the store, null while it has none). An answer that
// was continued is a chain of assistant turns; it is read, and sent, as one.

export function begin() {
  return { id: null, title: "", turns: [], leaf: null };
}

export function find(conversation, id) {
  return conversation.turns.find((turn) => turn.id === id);
}

export function addTurn(conversation, parent, role, content, model = "") {
  const turn = { id: newId(), parent, role, content, model, kept: null };
  conversation.turns.push(turn);
  conversation.leaf = turn.id;
  return turn;
}

// From the first turn to the one that is read last.
export function path(conversation, leaf = conversation.leaf) {
  const turns = [];
  for (let turn = find(conversation, leaf); turn; turn = find(conversation, turn.parent)) turns.unshift(turn);
  return turns;
}

// The path as it is shown: consecutive turns of the model as one. {role, content, model, turns}
export function blocks(conversation, leaf) {
  const made = [];
  for (const turn of path(conversation, leaf)) {
    const last = made.at(-1);
    if (last?.role === "assistant" && turn.role === "assistant") {
      last.turns.push(turn);
      last.content += turn.content;
    } else {
      made.push({ role: turn.role, content: turn.content, model: turn.model, turns: [turn] });
    }
  }
  return made;
}

export function siblings(conversation, turn) {
  return conversation.turns.filter((each) => each.parent === turn.parent && each.role === turn.role);
}

// Read on along another turn: down to the last of what follows it.
export function choose(conversation, turn) {
  for (let next = turn; next; next = conversation.turns.findLast((each) => each.parent === next.id)) {
    conversation.leaf = next.id;
  }
}

export function messagesOf(shown) {
  return shown.map(({ role, content }) => ({ role, content }));
}

export function newId() {
  // randomUUID exists only where the page came over TLS or from this machine.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function titleOf(text) {
  const line = text.trim().split("\n")[0];
  return line.length > 60 ? `${line.slice(0, 60)}…` : line;
}
