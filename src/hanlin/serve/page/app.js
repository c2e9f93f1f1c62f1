// The page begins here: every part is started and told of the others.
import { sendText, showRunning, startComposer } from "./composer.js";
import { $, button, savedJson } from "./dom.js";
import { asJson, asMarkdown, download } from "./export.js";
import { isFormatted } from "./markdown.js";
import { fillModels, startPanel } from "./panel.js";
import { save, server, settings, words } from "./settings.js";
import { drawSideBar, isDrawerOpen, search, sideBarWords, startSideBar, toggle } from "./sidebar.js";
import { listen, notice, open, redraw, reopen, state } from "./talk.js";

function showWords() {
  document.documentElement.lang = settings.language === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset.theme = settings.theme;
  for (const item of document.querySelectorAll("[data-text]")) item.textContent = words[item.dataset.text];
  for (const item of document.querySelectorAll("[data-label]")) {
    item.title = words[item.dataset.label];
    item.setAttribute("aria-label", words[item.dataset.label]);
  }
  for (const item of document.querySelectorAll("[data-placeholder]")) {
    item.placeholder = words[item.dataset.placeholder];
    item.setAttribute("aria-label", words[item.dataset.placeholder]);
  }
  $("language").textContent = words.other;
  $("window-note").textContent = words.window(server.window);
  sideBarWords();
  showMode();
}

function showMode() {
  const chat = settings.mode === "chat";
  const suffix = chat ? "Chat" : "Completion";
  $("mode-chat").setAttribute("aria-pressed", chat);
  $("mode-completion").setAttribute("aria-pressed", !chat);
  $("mode-chat").disabled = !server.can_chat;
  if (!server.can_chat) $("mode-chat").title = words.noChat;
  $("input").placeholder = words[`ask${suffix}`];
  $("input").setAttribute("aria-label", words[`ask${suffix}`]);
  $("welcome-title").textContent = words[`welcome${suffix}`];
  $("welcome-text").textContent = words[`welcome${suffix}Text`];
  $("examples").replaceChildren(...words[`examples${suffix}`].map((text) => button(text, () => sendText(text))));
  for (const item of document.querySelectorAll(".chat-only")) item.hidden = !chat;
  showComparing();
}

function showComparing() {
  const shown = state.comparing && settings.mode === "chat";
  $("compare").setAttribute("aria-pressed", shown);
  $("compare-bar").hidden = !shown;
}

function setMode(mode) {
  if (mode === settings.mode) return;
  settings.mode = mode;
  save();
  showMode();
  startOver();
}

function startOver() {
  open();
  drawSideBar();
  if (isDrawerOpen()) toggle(false);
  $("input").focus();
}

function settingsChanged() {
  showWords();
  redraw();
  drawSideBar();
}

function exportAs(ending) {
  $("menu").hidePopover?.();
  const [text, type] = ending === "md" ? [asMarkdown(state.conversation), "text/markdown"] : [asJson(state.conversation), "application/json"];
  download(`${state.conversation.title || "hanlin"}.${ending}`, text, type);
}

for (const [id, action] of Object.entries({
  new: startOver,
  "mode-chat": () => setMode("chat"),
  "mode-completion": () => setMode("completion"),
  language: () => {
    settings.language = settings.language === "zh" ? "en" : "zh";
    save();
    settingsChanged();
  },
  compare: () => {
    state.comparing = !state.comparing;
    showComparing();
    if (state.comparing) $("comparing").showModal();
  },
  "change-comparison": () => $("comparing").showModal(),
  "end-comparison": () => $("compare").click(),
  "export-md": () => exportAs("md"),
  "export-json": () => exportAs("json"),
})) $(id).addEventListener("click", action);

for (const [id, place] of [["model", settings], ["other-model", settings.other]]) {
  $(id).addEventListener("change", () => {
    place.model = $(id).value;
    save();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    search();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (isDrawerOpen()) toggle(false);
    else state.running?.abort();
  }
});

document.title = `${server.model} · Hanlin`;
listen({ running: showRunning, kept: drawSideBar });
startSideBar();
startPanel(settingsChanged, () => fillModels().then(drawSideBar));
$("settings").addEventListener("emptied", drawSideBar);
showWords();
// Before anything can be asked: what is opened here would end an answer that is being written.
const saved = savedJson(localStorage, "hanlin-open", null);
if (saved?.id) await reopen(saved).catch(() => localStorage.removeItem("hanlin-open"));
startComposer();
fillModels();
redraw();
drawSideBar();
if (!isFormatted && !sessionStorage.getItem("hanlin-plain")) {
  sessionStorage.setItem("hanlin-plain", "told");
  notice(words.plain);
}
