// The settings: how answers are drawn, what is shown, the key, and one's own data.
import { ask, json, key } from "./api.js";
import { confirmed } from "./confirm.js";
import { $, make } from "./dom.js";
import { explain } from "./answering.js";
import { download } from "./export.js";
import { NUMBERS, save, server, settings, usualTokens, words } from "./settings.js";
import { notice, open } from "./talk.js";

const fields = (side) => Object.keys(NUMBERS).map((name) => [name, $(`${side}${name.replace("_", "-")}`)]).filter(([, item]) => item);

export function fillPanel() {
  $("system").value = settings.system;
  $("probabilities").checked = settings.probabilities;
  $("theme").value = settings.theme;
  $("language-choice").value = settings.language;
  $("key").value = key();
  for (const [side, sampling] of [["", settings.sampling], ["other-", settings.other.sampling]]) {
    for (const [name, item] of fields(side)) item.value = sampling[name] ?? "";
  }
  for (const side of ["", "other-"]) {
    $(`${side}temperature`).placeholder = server.temperature;
    $(`${side}max-tokens`).placeholder = usualTokens;
    $(`${side}max-tokens`).max = Math.min(server.max_new_tokens, server.window - 1);
  }
  $("key-field").hidden = !server.needs_key;
}

// What is out of range keeps its old value.
function read() {
  settings.system = $("system").value;
  settings.probabilities = $("probabilities").checked;
  settings.theme = $("theme").value;
  settings.language = $("language-choice").value;
  for (const [side, sampling] of [["", settings.sampling], ["other-", settings.other.sampling]]) {
    for (const [name, item] of fields(side)) if (item.validity.valid) sampling[name] = item.value;
  }
  sessionStorage.setItem("hanlin-key", $("key").value.trim()); // gone with the tab
  save();
}

// Calls `changed()` after the settings were read, `keyed()` where the key is another one.
export function startPanel(changed, keyed) {
  for (const name of ["settings", "comparing"]) {
    $(name).addEventListener("close", () => {
      const before = key();
      read();
      changed();
      if (key() !== before) keyed();
    });
  }
  const show = () => (fillPanel(), $("settings").showModal());
  $("open-settings").addEventListener("click", show);
  $("export-all").addEventListener("click", exportAll);
  $("delete-all").addEventListener("click", deleteAll);
  fillPanel();
  if (server.needs_key && !key()) show();
}

async function exportAll() {
  try {
    const text = server.keeps ? await (await ask("/v1/me/export")).text() : localStorage.getItem("hanlin-conversations") ?? "{}";
    download(server.keeps ? "hanlin.jsonl" : "hanlin.json", text, "application/json");
  } catch (error) {
    notice(explain(error));
  }
}

async function deleteAll() {
  $("settings").close();
  if (!(await confirmed(server.keeps ? words.deleteAllServer : words.deleteAllHere, words.deleteAll))) return;
  try {
    if (server.keeps) await json("/v1/me", { method: "DELETE" });
    else localStorage.removeItem("hanlin-conversations");
    await open();
    notice(words.deleted);
  } catch (error) {
    notice(explain(error));
  }
  $("settings").dispatchEvent(new Event("emptied"));
}

// The models of this server that write text: the one that it was started with, and its adapters.
export async function fillModels() {
  let names = [server.model];
  try {
    const cards = (await json("/v1/models")).data.map((card) => card.id);
    names = [server.model, ...cards.filter((id) => id.startsWith(`${server.model}:`))];
  } catch {
    // Without a key the list is not told; the one model is known.
  }
  for (const [id, place] of [["model", settings], ["other-model", settings.other]]) {
    $(id).replaceChildren(...names.map((name) => Object.assign(make("option", "", name), { value: name })));
    if (!names.includes(place.model)) place.model = server.model;
    $(id).value = place.model;
    $(id).disabled = names.length === 1;
  }
}
