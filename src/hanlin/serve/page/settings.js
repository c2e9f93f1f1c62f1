// What the reader has set, kept in this browser; and what the server says of itself.
import { savedJson } from "./dom.js";
import { WORDS } from "./words.js";

export const server = await (await fetch("/page/config")).json();
const saved = savedJson(localStorage, "hanlin", {});

// Sampling: what is left empty is the model's own.
export const NUMBERS = {
  temperature: "temperature", top_p: "topP", max_tokens: "maxTokens", seed: "seed",
  presence_penalty: "presencePenalty", frequency_penalty: "frequencyPenalty",
};

export const settings = {
  language: navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en",
  theme: "auto", system: "", probabilities: false, sideBar: true,
  ...saved,
  mode: server.can_chat ? (saved.mode?.[server.model] ?? server.mode) : "completion",
  model: saved.model?.startsWith?.(`${server.model}:`) ? saved.model : server.model,
  sampling: { ...saved.sampling },
  other: { model: server.model, sampling: {}, ...saved.other }, // the right side of a comparison
};

export let words = WORDS[settings.language];

export function save() {
  words = WORDS[settings.language];
  const mode = { ...savedJson(localStorage, "hanlin", {}).mode, [server.model]: settings.mode };
  localStorage.setItem("hanlin", JSON.stringify({ ...settings, mode }));
}

export const usualTokens = Math.max(1, Math.min(256, Math.floor(server.window / 2), server.max_new_tokens));

// How an answer is drawn: fields of a request.
export function parameters({ model, sampling } = settings) {
  const given = { model, truncation: "auto", max_tokens: usualTokens };
  for (const name of Object.keys(NUMBERS)) {
    if (sampling[name] !== undefined && sampling[name] !== "") given[name] = Number(sampling[name]);
  }
  return given;
}
