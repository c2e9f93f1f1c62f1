// The conversation as it is read: every turn with what can be done about it. Drawn anew from what is known.
import { facts } from "./answering.js";
import { chancesView } from "./chances.js";
import { blocks, siblings } from "./conversation.js";
import { $, button, copyFrom, grow, icon, iconButton, make } from "./dom.js";
import { feedbackButtons } from "./feedback.js";
import { markdownView } from "./markdown.js";
import { settings, words } from "./settings.js";

export function drawLog({ conversation, running }, actions) {
  const shown = blocks(conversation);
  const items = [];
  shown.forEach((block, k) => {
    const view = { conversation, block, before: shown.slice(0, k + 1), last: k === shown.length - 1, actions };
    if (block.turns[0].dropped) items.push(make("p", "notice", dropped(block.turns[0].dropped)));
    if (settings.mode === "chat") items.push(block.role === "user" ? question(view) : answer(view));
    else if (block.role === "user") items.push(sheet(view, shown[k + 1]));
  });
  $("log").replaceChildren(...items);
  const last = shown.at(-1);
  if (last && !running) $("log").append(...after(last, actions));
  $("welcome").hidden = shown.length > 0;
}

function dropped(count) {
  return settings.mode === "chat" ? words.dropped(count) : words.droppedTokens(count);
}

// Below the last turn: what went wrong with it, or that it has no answer.
function after(block, actions) {
  const turn = block.turns.at(-1);
  const wanting = block.role === "user" && !turn.comparison;
  if (!turn.error && !wanting) return [];
  const item = make("div", turn.error ? "error" : "notice-box", make("span", "", turn.error ?? words.unanswered));
  if (turn.error) item.setAttribute("role", "alert");
  item.append(make("div", "row",
    ...(turn.error === words.needsKey ? [button(words.settings, () => $("open-settings").click())] : []),
    button(words.retry, () => actions.answer(turn))));
  return [item];
}

function question(view) {
  const { block, actions } = view;
  const item = make("div", "turn user", make("div", "text", block.content));
  item.append(make("div", "about",
    ...branches(view), copyButton(block.content),
    iconButton("edit", words.edit, () => edit(item, block, actions))));
  return item;
}

function edit(item, block, actions) {
  const form = make("form", "editing");
  const input = make("textarea");
  input.value = block.content;
  input.setAttribute("aria-label", words.edit);
  const save = make("button", "primary", words.sendEdited);
  const leave = () => (actions.redraw(), $("input").focus());
  form.append(input, make("div", "row", button(words.cancel, leave, "quiet"), save));
  const done = (event) => {
    event.preventDefault();
    if (input.value.trim()) actions.edit(block, input.value);
  };
  form.addEventListener("submit", done);
  input.addEventListener("input", () => grow(input));
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) done(event);
    if (event.key === "Escape") leave(event.stopPropagation());
  });
  item.replaceChildren(form);
  grow(input);
  input.focus();
}

// Lets the last question be edited: what Up does in an empty composer.
export function editLast() {
  [...document.querySelectorAll(".user .act")].filter((item) => item.title === words.edit).at(-1)?.click();
}

function answer(view) {
  const text = markdownView();
  text.show(view.block.content);
  const item = make("article", "turn assistant", text.element);
  item.setAttribute("aria-label", words.answer);
  item.append(...about(view, text.element));
  return item;
}

// A text that was begun and its continuation, as one sheet.
function sheet(view, next) {
  const text = make("div", "text", make("span", "given", view.block.content), next?.content ?? "");
  const item = make("article", "turn assistant sheet", text);
  item.setAttribute("aria-label", words.answer);
  if (next?.role === "assistant") {
    const last = next.turns.at(-1).id === view.conversation.leaf;
    item.append(...about({ ...view, block: next, before: [...view.before, next], last }, text));
  }
  return item;
}

function about(view, text) {
  const { block, actions, last } = view;
  const turn = block.turns.at(-1);
  const line = make("div", last ? "about last" : "about");
  const thoughts = feedbackButtons(turn, () => actions.judged(view.before));
  line.append(...branches(view), copyButton(settings.mode === "chat" ? block.content : text.textContent),
    iconButton("again", words.again, () => actions.again(block)), ...thoughts.buttons);
  if (turn.pieces?.length) line.append(chancesButton(turn, text));
  const isCut = settings.mode !== "chat" || ["length", "stopped"].includes(turn.done?.finish);
  if (last && isCut) line.append(button(make("span", "", words.goOn), () => actions.answer(turn), "word"));
  if (turn.done) line.append(...facts(turn.done).map((fact) => make("span", "fact", fact)));
  if (turn.model && turn.model !== settings.model) line.append(make("span", "fact", turn.model));
  return [line, thoughts.form];
}

function chancesButton(turn, text) {
  const view = chancesView(turn.pieces);
  const item = iconButton("chances", words.chances, () => {
    turn.showsChances = !turn.showsChances;
    show();
  });
  const show = () => {
    item.setAttribute("aria-pressed", Boolean(turn.showsChances));
    text.hidden = Boolean(turn.showsChances);
    if (turn.showsChances) text.after(view);
    else view.remove();
  };
  if (turn.showsChances) queueMicrotask(show); // once both are in the document
  else item.setAttribute("aria-pressed", false);
  return item;
}

// ‹ 2/3 ›: the other questions or answers in this place.
function branches({ conversation, block, actions }) {
  const all = siblings(conversation, block.turns[0]);
  if (all.length < 2) return [];
  const at = all.indexOf(block.turns[0]);
  const step = (name, label, to) => {
    const item = iconButton(name, label, () => actions.choose(all[to]));
    item.disabled = !all[to];
    return item;
  };
  const place = make("span", "branches", step("left", words.before, at - 1),
    make("span", "", `${at + 1}/${all.length}`), step("right", words.after, at + 1));
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", words.versions);
  return [place];
}

function copyButton(text) {
  if (!navigator.clipboard) return "";
  const item = iconButton("copy", words.copy, () => copyFrom(item, text, words.copied));
  return item;
}

// A block that the model is writing into: {item, show(text)}.
export function liveBlock(given) {
  if (settings.mode === "chat") {
    const text = markdownView();
    const item = make("div", "turn assistant live", text.element);
    text.show(given);
    return { item, show: (more) => text.show(given + more) };
  }
  const written = document.createTextNode("");
  const item = make("div", "turn assistant sheet live", make("div", "text", make("span", "given", given), written));
  return { item, show: (more) => (written.data = more) };
}

// Two answers side by side, and the choice between them.
export function comparisonBlock(columns, choose) {
  const item = make("section", "comparison");
  item.setAttribute("aria-label", words.comparison);
  item.append(...columns.map(({ label, content }, k) => {
    const text = markdownView();
    text.show(content);
    const column = make("div", "column", make("p", "column-head", label), text.element);
    if (choose) column.append(button(make("span", "", icon("best"), words.better), () => choose(k), "better"));
    return column;
  }));
  if (choose) item.append(button(words.alike, () => choose(null), "quiet alike"));
  return item;
}
