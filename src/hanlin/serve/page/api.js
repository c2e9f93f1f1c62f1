// The server's API as the page uses it: an answer as a stream of chunks, and plain JSON.
import { settings } from "./settings.js";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function key() {
  return sessionStorage.getItem("hanlin-key") ?? "";
}

// Throws ApiError for an answer that is an error, TypeError when the server cannot be reached.
export async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = { "Accept-Language": settings.language === "zh" ? "zh-CN" : "en" };
  if (body) headers["Content-Type"] = "application/json";
  if (key()) headers.Authorization = `Bearer ${key()}`;
  const response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new ApiError(answer?.error?.message ?? `HTTP ${response.status}`, response.status);
  }
  return response;
}

export async function json(path, options) {
  return (await ask(path, options)).json();
}

// Yields {text, tokens, usage, finish} as chunks arrive; tokens: [{token, name, logprob, top: [[name, logprob]]}].
// `opened` gets the response headers.
export async function* stream(path, body, { signal, opened }) {
  const options = { stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } };
  const response = await ask(path, { method: "POST", signal, body: { ...body, ...options } });
  opened(response.headers);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, response.status);
    const choice = chunk.choices[0];
    yield {
      text: choice?.delta?.content ?? choice?.text ?? "",
      tokens: tokensOf(choice?.logprobs),
      usage: chunk.usage,
      finish: choice?.finish_reason ?? null,
    };
  }
  throw new ApiError(null, 0); // the stream ended without [DONE]
}

// The two endpoints tell of tokens in two shapes.
function tokensOf(told) {
  if (!told) return [];
  if (told.content) {
    const top = (one) => one.top_logprobs.map((each) => [nameOf(each), each.logprob]);
    return told.content.map((one) => ({ ...one, name: nameOf(one), top: top(one) }));
  }
  return told.tokens.map((token, k) => ({
    token, name: token, logprob: told.token_logprobs[k], top: Object.entries(told.top_logprobs?.[k] ?? {}),
  }));
}

// Part of a character is named by its bytes.
function nameOf({ token, bytes }) {
  return token.includes("\ufffd") ? bytes.map((byte) => `<${byte.toString(16).toUpperCase().padStart(2, "0")}>`).join("") : token;
}

// The data of each server-sent event.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith("data: ")) yield block.slice(6);
    }
  }
}
