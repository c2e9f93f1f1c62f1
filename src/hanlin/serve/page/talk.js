// The conversation that is open, and all that can be done with it.
import { explain, requestFor, speed, write } from "./answering.js";
import { addTurn, begin, blocks, choose, find, messagesOf, siblings } from "./conversation.js";
import { $, following, make } from "./dom.js";
import { sendFeedback } from "./feedback.js";
import { comparisonBlock, drawLog, liveBlock } from "./log.js";
import { NUMBERS, server, settings, words } from "./settings.js";
import { keep, store } from "./store.js";

export const state = { conversation: begin(), running: null, comparing: false };
const listeners = { running: () => {}, kept: () => {} };

// `running()` is called when an answer begins or ends, `kept()` when the store has something new.
export function listen(to) {
  Object.assign(listeners, to);
}

const actions = {
  answer, redraw,
  choose(turn) {
    if (state.running) return;
    choose(state.conversation, turn);
    redraw();
    remember();
  },
  again(block) {
    const [first] = block.turns;
    answer(find(state.conversation, first.parent), siblings(state.conversation, first).length);
  },
  edit(block, text) {
    if (!state.running) put(block.turns[0].parent, text);
  },
  judged(shown) {
    const turn = shown.at(-1).turns.at(-1);
    return { messages: sent(shown), conversation: state.conversation.id, turn: turn.kept, model: turn.model, parameters: turn.done?.parameters ?? {} };
  },
};

export function redraw() {
  const area = $("scroll");
  const { scrollTop } = area;
  drawLog(state, actions);
  const shown = blocks(state.conversation);
  const last = shown.at(-1)?.turns.at(-1);
  const question = last && find(state.conversation, last.parent);
  if (question?.comparison?.turns.includes(last)) drawComparison(question);
  area.scrollTop = scrollTop;
}

export function send(text) {
  if (!state.running && text.trim()) put(state.conversation.leaf, text);
}

function put(parent, text) {
  const question = addTurn(state.conversation, parent, "user", text);
  keeping(state.conversation, question);
  return state.comparing && settings.mode === "chat" ? compare(question) : answer(question);
}

// Another conversation: a new one, or one of the store's.
export async function open(conversation = begin()) {
  state.running?.abort();
  state.running = null;
  state.conversation = conversation;
  remember();
  redraw();
  $("scroll").scrollTop = $("scroll").scrollHeight;
  listeners.running();
}

// An answer to a question, or more of an answer.
async function answer(to, attempt = 0) {
  if (state.running) return;
  const { conversation } = state;
  conversation.leaf = to.id;
  delete to.error;
  const control = start();
  const shown = blocks(conversation);
  const live = liveBlock(shown.at(-1).role === "user" && settings.mode === "chat" ? "" : givenText(shown));
  place(live.item, shown);
  const done = await write(requestFor(shown, settings, attempt), control.signal, live.show, showSpeed);
  settle(conversation, to, done, settings.model);
  finish(control, conversation);
}

function givenText(shown) {
  if (settings.mode === "chat") return shown.at(-1).content;
  return shown.slice(shown.findLastIndex((block) => block.role === "user")).map((block) => block.content).join("");
}

// The live block takes the place of what it goes on with.
function place(item, shown) {
  if (shown.at(-1).role === "assistant" || settings.mode !== "chat") $("log").lastElementChild?.remove();
  $("log").append(item);
  $("scroll").scrollTop = $("scroll").scrollHeight;
}

function settle(conversation, to, done, model) {
  let turn = to;
  if (done.content) {
    turn = addTurn(conversation, to.id, "assistant", done.content, model);
    Object.assign(turn, { done, pieces: done.pieces.done, dropped: done.dropped });
    keeping(conversation, turn);
  }
  if (done.error) turn.error = done.error;
  else if (!done.content) turn.error = done.finish === "stopped" ? words.stoppedEarly : words.nothing;
  return turn;
}

function start() {
  const control = new AbortController();
  state.running = control;
  redraw();
  $("log").setAttribute("aria-busy", "true");
  $("status").textContent = words.answering;
  listeners.running();
  return control;
}

function finish(control, conversation) {
  if (state.running !== control) return; // another conversation is open
  state.running = null;
  $("log").setAttribute("aria-busy", "false");
  const last = blocks(conversation).at(-1);
  $("status").textContent = last.role === "assistant" ? words.answered(last.turns.at(-1).content.slice(0, 500)) : "";
  $("speed").textContent = "";
  following(redraw);
  remember();
  listeners.running();
}

function showSpeed(clock) {
  $("speed").textContent = speed(clock);
}

// ---- two answers side by side

async function compare(question) {
  const { conversation } = state;
  const control = start();
  const shown = blocks(conversation);
  const sets = [settings, settings.other];
  const columns = sets.map((set, k) => ({ label: labelOf(set, k), content: "" }));
  const item = comparisonBlock(columns);
  item.classList.add("live");
  const texts = [...item.querySelectorAll(".column")].map((column) => {
    const live = liveBlock("");
    column.querySelector(".text").replaceWith(live.item);
    return live;
  });
  place(item, shown);
  const done = await Promise.all(sets.map((set, k) => write(requestFor(shown, set, 0), control.signal, texts[k].show, showSpeed)));
  const turns = done.map((one, k) => settle(conversation, question, one, sets[k].model));
  if (turns.every((turn) => turn !== question)) {
    question.comparison = { turns, labels: columns.map((column) => column.label) };
    conversation.leaf = turns[0].id;
    delete question.error;
  }
  finish(control, conversation);
}

function labelOf({ model, sampling }, k) {
  const set = Object.keys(NUMBERS).filter((name) => sampling[name] !== undefined && sampling[name] !== "");
  return ["AB"[k], model, ...set.map((name) => `${words[NUMBERS[name]]} ${sampling[name]}`)].join(" · ");
}

function drawComparison(question) {
  const { turns, labels } = question.comparison;
  const columns = turns.map((turn, k) => ({ label: labels[k], content: turn.content }));
  $("log").lastElementChild.replaceWith(comparisonBlock(columns, (k) => decide(question, k)));
}

// The better one goes on; the other stays beside it. null: both are as good.
async function decide(question, k) {
  const { conversation } = state;
  const { turns } = question.comparison;
  delete question.comparison;
  conversation.leaf = turns[k ?? 0].id;
  redraw();
  remember();
  $("input").focus();
  if (k === null || !server.keeps) return;
  const [better, worse] = [turns[k], turns[1 - k]];
  try {
    await sendFeedback({
      ...actions.judged(blocks(conversation, worse.id)),
      preferred: better.content,
      parameters: { ...worse.done.parameters, preferred_model: better.model, preferred_parameters: better.done.parameters },
    });
    notice(words.preferenceSent);
  } catch (error) {
    notice(words.notSent(explain(error)));
  }
}

// ---- keeping

function keeping(conversation, turn) {
  const known = conversation.id;
  keep(conversation, turn.id).then(
    () => {
      conversation.unkept = false;
      if (conversation === state.conversation) remember();
      listeners.kept(known !== conversation.id);
    },
    (error) => {
      if (!conversation.unkept) notice(words.notKept(error.name === "QuotaExceededError" ? words.full : explain(error)));
      conversation.unkept = true;
    },
  );
}

const OPEN = "hanlin-open";

// Which conversation is read, and which of its branches, survives a reload.
function remember() {
  const { id, leaf } = state.conversation;
  const turn = find(state.conversation, leaf);
  if (id) localStorage.setItem(OPEN, JSON.stringify({ id, leaf: turn?.kept ?? null }));
  else localStorage.removeItem(OPEN);
}

export async function reopen(saved) {
  const conversation = await store.get(saved.id);
  const leaf = find(conversation, saved.leaf);
  if (leaf) choose(conversation, leaf);
  await open(conversation);
}

// A passing word above the composer.
export function notice(text) {
  const item = make("p", "toast", text);
  item.setAttribute("role", "status");
  $("toasts").replaceChildren(item);
  setTimeout(() => item.remove(), 8000);
}

function sent(shown) {
  const system = settings.mode === "chat" && settings.system.trim() ? [{ role: "system", content: settings.system }] : [];
  return [...system, ...messagesOf(shown)];
}
