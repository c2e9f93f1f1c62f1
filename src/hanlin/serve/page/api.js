// The server's API as the page uses it: one request, answered as a stream of chunks.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// Yields {text, usage, finish} as chunks arrive. `opened` gets the response headers.
// Throws ApiError for an answer that is an error, TypeError when the server cannot be reached.
export async function* stream(path, body, { key, language, signal, opened }) {
  const headers = { "Content-Type": "application/json", "Accept-Language": language };
  if (key) headers.Authorization = `Bearer ${key}`;
  const options = { stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } };
  const response = await fetch(path, {
    method: "POST", headers, signal, body: JSON.stringify({ ...body, ...options }),
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new ApiError(answer?.error?.message ?? `HTTP ${response.status}`, response.status);
  }
  opened(response.headers);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, response.status);
    const choice = chunk.choices[0];
    yield {
      text: choice?.delta?.content ?? choice?.text ?? "",
      usage: chunk.usage,
      finish: choice?.finish_reason ?? null,
    };
  }
  throw new ApiError(null, 0); // the stream ended without [DONE]
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
