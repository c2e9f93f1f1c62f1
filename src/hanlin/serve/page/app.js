// The page: what is said so far, and how it is shown. Text only ever enters the document as text.
import { ApiError, stream } from "./api.js";
import { WORDS } from "./words.js";

const $ = (id) => document.getElementById(id);
const server = await (await fetch("/page/config")).json();
const saved = JSON.parse(localStorage.getItem("hanlin") ?? "{}");
const settings = {
  language: saved.language ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"),
  mode: saved.mode?.[server.model] ?? server.mode,
  system: saved.system ?? "",
  temperature: saved.temperature ?? "",
  maxTokens: saved.maxTokens ?? "",
};
const usualTokens = Math.max(1, Math.min(256, Math.floor(server.window / 2), server.max_new_tokens));
let messages = []; // the conversation: [{role, content}], whole turns only
let running = null; // AbortController of the answer that is being written
let words = WORDS[settings.language];

// ---- words and settings

function showWords() {
  words = WORDS[settings.language];
  document.documentElement.lang = settings.language === "zh" ? "zh-CN" : "en";
  for (const item of document.querySelectorAll("[data-text]")) item.textContent = words[item.dataset.text];
  for (const item of document.querySelectorAll("[data-label]")) {
    item.title = words[item.dataset.label];
    item.setAttribute("aria-label", words[item.dataset.label]);
  }
  $("language").textContent = words.other;
  $("window-note").textContent = words.window(server.window);
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
  $("examples").replaceChildren(...words[`examples${suffix}`].map((text) => button(text, () => send(text))));
  for (const item of document.querySelectorAll(".chat-only")) item.hidden = !chat;
}

function save() {
  const mode = { ...saved.mode, [server.model]: settings.mode };
  Object.assign(saved, settings, { mode });
  localStorage.setItem("hanlin", JSON.stringify(saved));
}

function setMode(mode) {
  if (mode === settings.mode) return;
  settings.mode = mode;
  save();
  startOver();
  showMode();
}

function startOver() {
  running?.abort();
  messages = [];
  $("log").replaceChildren();
  $("welcome").hidden = false;
  $("speed").textContent = "";
  $("input").focus();
}

// ---- pieces of the document

function make(tag, className, text = "") {
  const item = document.createElement(tag);
  item.className = className;
  item.textContent = text;
  return item;
}

function button(text, action) {
  const item = make("button", "", text);
  item.type = "button";
  item.addEventListener("click", action);
  return item;
}

function add(item) {
  $("welcome").hidden = true;
  $("log").append(item);
  $("scroll").scrollTop = $("scroll").scrollHeight;
  return item;
}

// Runs `change`, and stays at the bottom if the reader is there.
function following(change) {
  const area = $("scroll");
  const atBottom = area.scrollHeight - area.scrollTop - area.clientHeight < 60;
  change();
  if (atBottom) area.scrollTop = area.scrollHeight;
}

// A block that the model writes into, with a line about it below.
function block(given) {
  const turn = make("div", given === null ? "turn assistant live" : "turn assistant sheet live");
  const text = make("div", "text");
  const written = document.createTextNode("");
  if (given !== null) text.append(make("span", "given", given));
  text.append(written);
  const about = make("div", "about");
  turn.append(text, about);
  return { turn, written, about };
}

// ---- asking the model

function send(text) {
  if (running || !text.trim()) return;
  $("input").value = "";
  fit();
  for (const old of document.querySelectorAll(".error")) old.remove();
  if (settings.mode === "chat") answer(text);
  else proceed(text, block(text), "");
}

async function answer(text) {
  const asked = make("div", "turn user");
  asked.append(make("div", "text", text));
  add(asked);
  messages.push({ role: "user", content: text });
  const conversation = messages;
  const place = block(null);
  add(place.turn);
  const system = settings.system.trim() ? [{ role: "system", content: settings.system }] : [];
  const body = { messages: [...system, ...conversation] };
  await write("/v1/chat/completions", body, place, words.dropped);
  if (conversation !== messages) return; // a new conversation began meanwhile
  if (place.written.data) {
    messages.push({ role: "assistant", content: place.written.data });
    return;
  }
  // Nothing came: the question leaves the history and returns to the writer.
  messages.pop();
  place.turn.remove();
  asked.remove();
  giveBack(text);
}

async function proceed(prompt, place, before) {
  if (!place.turn.isConnected) add(place.turn);
  place.turn.classList.add("live");
  await write("/v1/completions", { prompt: prompt + before }, place, words.droppedTokens);
  if (!place.turn.isConnected) return;
  if (!place.written.data) {
    place.turn.remove();
    giveBack(prompt);
    return;
  }
  place.about.append(button(words.goOn, () => running || proceed(prompt, place, place.written.data)));
}

function giveBack(text) {
  if (!$("input").value) $("input").value = text;
  $("welcome").hidden = $("log").childElementCount > 0;
  fit();
}

// Streams one answer into `place`; says below it how it went, and errors after it.
async function write(path, body, place, droppedWords) {
  const control = new AbortController();
  running = control;
  showRunning();
  const clock = { sent: performance.now(), first: 0, last: 0, tokens: 0 };
  const start = place.written.data;
  let finish = null;
  let notice = null;
  place.about.replaceChildren();
  try {
    const chunks = stream(path, { ...body, ...parameters() }, {
      key: $("key").value, language: settings.language === "zh" ? "zh-CN" : "en", signal: control.signal,
      opened: (headers) => {
        const dropped = Number(headers.get("x-hanlin-dropped"));
        if (dropped) notice = make("p", "notice", droppedWords(dropped));
        if (notice) following(() => place.turn.before(notice));
      },
    });
    for await (const chunk of chunks) {
      finish = chunk.finish ?? finish;
      tick(clock, chunk.usage?.completion_tokens ?? clock.tokens);
      following(() => place.written.appendData(chunk.text));
      $("speed").textContent = speed(clock);
    }
  } catch (error) {
    if (error.name === "AbortError") finish = "stopped";
    else if (place.turn.isConnected) place.turn.after(make("div", "error", explain(error)));
  }
  place.turn.classList.remove("live");
  if (place.written.data === start) notice?.remove();
  following(() => describe(place, clock, finish));
  if (running === control) running = null;
  showRunning();
}

function parameters() {
  const given = { model: server.model, truncation: "auto", max_tokens: Number(settings.maxTokens) || usualTokens };
  if (settings.temperature !== "") given.temperature = Number(settings.temperature);
  return given;
}

function tick(clock, tokens) {
  if (tokens === clock.tokens) return;
  clock.last = performance.now();
  if (!clock.tokens) clock.first = clock.last;
  clock.tokens = tokens;
}

// Tokens per second after the first token, whose wait is told apart.
function speed(clock) {
  const seconds = (clock.last - clock.first) / 1000;
  if (clock.tokens < 2 || seconds <= 0) return "";
  const rate = (clock.tokens - 1) / seconds;
  return words.rate(rate < 10 ? rate.toFixed(1) : Math.round(rate));
}

function describe(place, clock, finish) {
  const facts = clock.tokens
    ? [words.count(clock.tokens), speed(clock), words.first(((clock.first - clock.sent) / 1000).toFixed(2))]
    : [];
  if (finish === "length" || finish === "stopped") facts.push(words[finish]);
  place.about.append(...facts.filter(Boolean).map((fact) => make("span", "", fact)));
  if (place.written.data) {
    const copy = button(words.copy, async () => {
      await navigator.clipboard.writeText(place.turn.querySelector(".text").textContent);
      copy.textContent = words.copied;
    });
    if (navigator.clipboard) place.about.append(copy);
  }
  $("speed").textContent = "";
}

function explain(error) {
  if (error instanceof ApiError) {
    return error.status === 401 && !$("key").value ? words.needsKey : error.message || words.cut;
  }
  return error instanceof TypeError ? words.offline : String(error);
}

// ---- controls

function showRunning() {
  $("send").hidden = running !== null;
  $("stop").hidden = running === null;
  $("send").disabled = !$("input").value.trim();
}

function fit() {
  const input = $("input");
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
  showRunning();
}

$("input").addEventListener("input", fit);
$("input").addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word; keyCode 229 is how Safari says so.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send($("input").value);
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send($("input").value);
});
$("stop").addEventListener("click", () => running?.abort());
$("new").addEventListener("click", startOver);
$("mode-chat").addEventListener("click", () => setMode("chat"));
$("mode-completion").addEventListener("click", () => setMode("completion"));
$("language").addEventListener("click", () => {
  settings.language = settings.language === "zh" ? "en" : "zh";
  save();
  showWords();
});
$("open-settings").addEventListener("click", () => $("settings").showModal());
$("settings").addEventListener("close", () => {
  settings.system = $("system").value;
  settings.temperature = $("temperature").validity.valid ? $("temperature").value : settings.temperature;
  settings.maxTokens = $("max-tokens").validity.valid ? $("max-tokens").value : settings.maxTokens;
  sessionStorage.setItem("hanlin-key", $("key").value); // gone with the tab
  save();
});

if (!server.can_chat) settings.mode = "completion";
$("model").textContent = server.model;
document.title = `${server.model} · Hanlin`;
$("system").value = settings.system;
$("temperature").value = settings.temperature;
$("temperature").placeholder = server.temperature;
$("max-tokens").value = settings.maxTokens;
$("max-tokens").placeholder = usualTokens;
$("max-tokens").max = Math.min(server.max_new_tokens, server.window - 1);
$("key").value = sessionStorage.getItem("hanlin-key") ?? "";
$("key-field").hidden = !server.needs_key;
showWords();
fit();
if (server.needs_key && !$("key").value) $("settings").showModal();
