// Where conversations are kept: by the server where it does so, else in this browser. Both know the same six things.
import { json } from "./api.js";
import { newId, titleOf } from "./conversation.js";
import { savedJson } from "./dom.js";
import { server } from "./settings.js";

export const PAGE = 100; // conversations in one answer

class ServerStore {
  async list(search, before = null) {
    const asked = new URLSearchParams({ search: search.slice(0, 200), limit: PAGE, ...(before && { before }) });
    return (await json(`/v1/conversations?${asked}`)).data.map(told);
  }

  async get(id) {
    const found = await json(`/v1/conversations/${encodeURIComponent(id)}`);
    const turns = found.turns.map((turn) => ({ ...turn, kept: turn.id }));
    return { ...told(found), turns, leaf: turns.at(-1)?.id ?? null };
  }

  async begin(title) {
    return told(await json("/v1/conversations", { method: "POST", body: { title } }));
  }

  async add(id, parent, turns) {
    const messages = turns.map(({ role, content }) => ({ role, content }));
    const body = { messages, parent, model: turns.at(-1).model };
    return (await json(`/v1/conversations/${id}/turns`, { method: "POST", body })).ids;
  }

  async rename(id, title) {
    await json(`/v1/conversations/${encodeURIComponent(id)}`, { method: "PATCH", body: { title } });
  }

  async remove(id) {
    await json(`/v1/conversations/${encodeURIComponent(id)}`, { method: "DELETE" });
  }
}

function told({ id, title, changed_at }) {
  return { id, title, changedAt: changed_at };
}

const PLACE = "hanlin-conversations";

class BrowserStore {
  all() {
    return savedJson(localStorage, PLACE, {});
  }

  write(change) {
    const all = this.all();
    const result = change(all);
    localStorage.setItem(PLACE, JSON.stringify(all));
    return result;
  }

  async list(search, before = null) {
    const wanted = search.toLowerCase();
    const has = (text) => text.toLowerCase().includes(wanted);
    return Object.values(this.all())
      .filter((each) => has(each.title) || each.turns.some((turn) => has(turn.content)))
      .filter((each) => before === null || each.changedAt < before)
      .sort((a, b) => b.changedAt - a.changedAt)
      .slice(0, PAGE);
  }

  async get(id) {
    const found = this.all()[id];
    if (!found) throw new Error(id);
    return { ...found, leaf: found.turns.at(-1)?.id ?? null };
  }

  async begin(title) {
    const begun = { id: newId(), title, changedAt: Date.now() / 1000, turns: [] };
    return this.write((all) => (all[begun.id] = begun));
  }

  async add(id, parent, turns) {
    return this.write((all) => {
      for (const turn of turns) {
        const { id: own, role, content, model } = turn;
        all[id].turns.push({ id: own, parent, role, content, model, kept: own });
        parent = own;
      }
      const first = turns.find((turn) => turn.role === "user");
      if (first) all[id].title ||= titleOf(first.content);
      all[id].changedAt = Date.now() / 1000;
      return turns.map((turn) => turn.id);
    });
  }

  async rename(id, title) {
    this.write((all) => (all[id].title = title));
  }

  async remove(id) {
    this.write((all) => delete all[id]);
  }
}

export const store = server.keeps ? new ServerStore() : new BrowserStore();

// Keeps what of the way to `leaf` is not kept yet; calls wait for each other, so that parents come before children.
let last = Promise.resolve();
export function keep(conversation, leaf) {
  last = last.catch(() => {}).then(() => keepNow(conversation, leaf));
  return last;
}

async function keepNow(conversation, leaf) {
  const missing = [];
  let turn = conversation.turns.find((each) => each.id === leaf);
  while (turn && !turn.kept) {
    missing.unshift(turn);
    const { parent } = turn;
    turn = conversation.turns.find((each) => each.id === parent);
  }
  if (!missing.length) return;
  if (!conversation.id) {
    const title = titleOf(missing[0].content);
    conversation.id = (await store.begin(title)).id;
    conversation.title = title;
  }
  const ids = await store.add(conversation.id, turn?.kept ?? null, missing);
  missing.forEach((each, k) => (each.kept = ids[k]));
}
