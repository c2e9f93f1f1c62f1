// One answer of the model: the request for it, and its stream shown as it comes.
import { ApiError, key, stream } from "./api.js";
import { Pieces } from "./chances.js";
import { messagesOf } from "./conversation.js";
import { following } from "./dom.js";
import { parameters, settings, words } from "./settings.js";

// What is sent for an answer to the last of `shown` (blocks), or for more of it. `attempt`: how many there are already.
export function requestFor(shown, set = settings, attempt = 0) {
  const given = parameters(set);
  if (attempt && given.seed !== undefined) given.seed += attempt; // the same seed would give the same text
  return settings.mode === "chat" ? chatRequest(shown, given) : completionRequest(shown, given);
}

function chatRequest(shown, given) {
  const messages = messagesOf(shown);
  if (settings.system.trim()) messages.unshift({ role: "system", content: settings.system });
  // The API answers a user; who wants more of an answer has to ask for it.
  if (shown.at(-1).role === "assistant") messages.push({ role: "user", content: words.goOnPlease });
  const chances = settings.probabilities ? { logprobs: true, top_logprobs: 5 } : {};
  return { path: "/v1/chat/completions", body: { messages, ...given, ...chances } };
}

function completionRequest(shown, given) {
  const from = shown.findLastIndex((block) => block.role === "user");
  const prompt = shown.slice(from).map((block) => block.content).join("");
  return { path: "/v1/completions", body: { prompt, ...given, ...(settings.probabilities ? { logprobs: 5 } : {}) } };
}

// Streams the answer, calls `show(text)` at most once a frame and `told(clock)` besides.
// Returns {content, pieces, finish, clock, dropped, error}; stopping is no error.
export async function write({ path, body }, signal, show, told) {
  const clock = { sent: performance.now(), first: 0, last: 0, tokens: 0 };
  const done = { content: "", pieces: new Pieces(), finish: null, clock, dropped: 0, error: null, parameters: drawn(body) };
  const paint = eachFrame(() => following(() => show(done.content)));
  try {
    const chunks = stream(path, body, { signal, opened: (headers) => (done.dropped = Number(headers.get("x-hanlin-dropped"))) });
    for await (const chunk of chunks) {
      done.finish = chunk.finish ?? done.finish;
      done.content += chunk.text;
      if (settings.probabilities) done.pieces.add(chunk.text, chunk.tokens);
      tick(clock, chunk.usage?.completion_tokens ?? clock.tokens);
      paint.ask();
      told(clock);
    }
  } catch (error) {
    if (error.name === "AbortError") done.finish = "stopped";
    else done.error = explain(error);
  }
  paint.stop();
  return done;
}

function drawn({ messages, prompt, model, truncation, logprobs, top_logprobs, ...rest }) {
  return rest;
}

// Long texts take longer to show: the pause between two paintings is a few times what one takes.
function eachFrame(work) {
  let timer = 0;
  let cost = 0;
  const run = () => {
    timer = 0;
    const began = performance.now();
    work();
    cost = performance.now() - began;
  };
  return { ask: () => (timer ||= setTimeout(run, Math.max(16, 3 * cost))), stop: () => clearTimeout(timer) };
}

function tick(clock, tokens) {
  if (tokens === clock.tokens) return;
  clock.last = performance.now();
  if (!clock.tokens) clock.first = clock.last;
  clock.tokens = tokens;
}

// Tokens per second after the first token, whose wait is told apart.
export function speed(clock) {
  const seconds = (clock.last - clock.first) / 1000;
  if (clock.tokens < 2 || seconds <= 0) return "";
  const rate = (clock.tokens - 1) / seconds;
  return words.rate(rate < 10 ? rate.toFixed(1) : Math.round(rate));
}

export function facts({ clock, finish }) {
  const told = clock.tokens ? [words.count(clock.tokens), speed(clock), words.first(((clock.first - clock.sent) / 1000).toFixed(2))] : [];
  if (finish === "length" || finish === "stopped") told.push(words[finish]);
  return told.filter(Boolean);
}

export function explain(error) {
  if (error instanceof ApiError) return error.status === 401 && !key() ? words.needsKey : error.message || words.cut;
  return error instanceof TypeError ? words.offline : String(error);
}
