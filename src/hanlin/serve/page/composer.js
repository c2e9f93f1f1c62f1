// Where the reader writes: the draft outlives a reload, Enter sends, Up goes back to the last question.
import { $, grow } from "./dom.js";
import { editLast } from "./log.js";
import { send, state } from "./talk.js";

const DRAFT = "hanlin-draft";

export function showRunning() {
  $("send").hidden = state.running !== null;
  $("stop").hidden = state.running === null;
  $("send").disabled = !$("input").value.trim();
}

export function write(text) {
  $("input").value = text;
  changed();
}

function changed() {
  localStorage.setItem(DRAFT, $("input").value);
  grow($("input"));
  showRunning();
}

export function sendText(text) {
  if (state.running || !text.trim()) return;
  write("");
  send(text);
  $("input").focus();
}

export function startComposer() {
  $("input").addEventListener("input", changed);
  $("input").addEventListener("keydown", (event) => {
    // While an input method composes, its keys choose words; keyCode 229 is how Safari says so.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      sendText($("input").value);
    } else if (event.key === "ArrowUp" && !$("input").value && !state.running) {
      event.preventDefault();
      editLast();
    }
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    sendText($("input").value);
  });
  $("stop").addEventListener("click", () => {
    state.running?.abort();
    $("input").focus();
  });
  write(localStorage.getItem(DRAFT) ?? "");
}
