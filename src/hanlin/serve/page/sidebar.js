// The conversations: found, opened, renamed, deleted. Beside the log where there is room, else a drawer over it.
import { explain } from "./answering.js";
import { confirmed } from "./confirm.js";
import { $, button, iconButton, make } from "./dom.js";
import { save, server, settings, words } from "./settings.js";
import { PAGE, store } from "./store.js";
import { notice, open, reopen, state } from "./talk.js";

const narrow = matchMedia("(max-width: 52rem)");
let asked = 0; // the newest list that was asked for: answers may come out of order

export async function drawSideBar() {
  const mine = ++asked;
  const found = await look(null);
  if (mine === asked) show(found);
}

async function look(before) {
  try {
    return await store.list($("search").value.trim(), before);
  } catch (error) {
    return explain(error);
  }
}

function show(found) {
  const list = $("conversations");
  if (typeof found === "string") return list.replaceChildren(make("p", "empty", found));
  if (!found.length) {
    return list.replaceChildren(make("p", "empty", $("search").value ? words.foundNone : words.noneYet));
  }
  list.replaceChildren();
  append(found);
}

function append(found) {
  const list = $("conversations");
  for (const each of found) {
    const group = groupOf(each.changedAt);
    if (list.lastElementChild?.dataset.group !== group) {
      const rows = make("ul");
      rows.dataset.group = group;
      list.append(make("h2", "", words[group]), rows);
    }
    list.lastElementChild.append(row(each));
  }
  if (found.length === PAGE) {
    const more = button(words.more, async () => {
      const next = await look(found.at(-1).changedAt);
      more.remove();
      if (typeof next !== "string") append(next);
    }, "quiet");
    list.append(more);
  }
}

function groupOf(changedAt) {
  const midnight = new Date().setHours(0, 0, 0, 0) / 1000;
  if (changedAt >= midnight) return "today";
  return changedAt >= midnight - 6 * 86400 ? "thisWeek" : "earlier";
}

function row(conversation) {
  const title = conversation.title || words.untitled;
  const item = make("li");
  const name = button(title, () => visit(conversation.id), "name");
  name.title = title;
  if (conversation.id === state.conversation.id) name.setAttribute("aria-current", "true");
  item.append(name,
    iconButton("edit", words.rename, () => rename(item, conversation)),
    iconButton("remove", words.remove, () => remove(conversation, title)));
  return item;
}

async function visit(id) {
  try {
    await reopen({ id });
    if (narrow.matches) toggle(false);
    $("input").focus();
  } catch (error) {
    notice(explain(error));
  }
  drawSideBar();
}

function rename(item, conversation) {
  const input = make("input");
  Object.assign(input, { value: conversation.title, maxLength: 200 });
  input.setAttribute("aria-label", words.rename);
  let left = false;
  const leave = async (keeps) => {
    if (left) return;
    left = true;
    const title = input.value.trim();
    if (keeps && title && title !== conversation.title) await attempt(() => store.rename(conversation.id, title));
    if (conversation.id === state.conversation.id && keeps && title) state.conversation.title = title;
    drawSideBar();
  };
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter") leave(true);
    if (event.key === "Escape") leave(event.stopPropagation());
  });
  input.addEventListener("blur", () => leave(true));
  item.replaceChildren(input);
  input.select();
}

async function remove(conversation, title) {
  if (!(await confirmed(words.removeAsk(title), words.remove))) return;
  await attempt(() => store.remove(conversation.id));
  if (conversation.id === state.conversation.id) open();
  drawSideBar();
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    notice(explain(error));
  }
}

// ---- shown or not

export function toggle(shown) {
  if (!narrow.matches) {
    settings.sideBar = shown;
    save();
  }
  apply(shown);
  if (shown && narrow.matches) $("search").focus();
  if (!shown) $("toggle-side").focus();
}

function apply(shown) {
  document.body.classList.toggle("side", shown);
  $("side").inert = !shown;
  $("main").inert = shown && narrow.matches;
  $("toggle-side").setAttribute("aria-expanded", shown);
}

export function isDrawerOpen() {
  return narrow.matches && document.body.classList.contains("side");
}

export function search() {
  toggle(true);
  $("search").focus();
  $("search").select();
}

export function startSideBar() {
  let timer = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(drawSideBar, 200);
  });
  $("toggle-side").addEventListener("click", () => toggle(!document.body.classList.contains("side")));
  $("close-side").addEventListener("click", () => toggle(false));
  $("shade").addEventListener("click", () => toggle(false));
  narrow.addEventListener("change", () => apply(!narrow.matches && settings.sideBar));
  apply(!narrow.matches && settings.sideBar);
}

export function sideBarWords() {
  $("where").textContent = server.keeps ? words.keptByServer : words.keptHere;
}
