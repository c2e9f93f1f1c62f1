// The official JavaScript client against a server: node client.js URL. Prints what came as JSON.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user", content: "你好" }];
const asked = { model: "little", messages, temperature: 0 };
const found = { models: (await client.models.list()).data.map((card) => card.id) };
found.chat = (await client.chat.completions.create(asked)).choices[0].message.content;
found.stream = "";
const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) {
  found.stream += chunk.choices[0]?.delta.content ?? "";
  found.tokens = chunk.usage?.completion_tokens ?? found.tokens;
}
found.completion = (
  await client.completions.create({ model: "little", prompt: "Row, row", max_tokens: 8, temperature: 0 })
).choices[0].finish_reason;
found.response = (await client.responses.create({ model: "little", input: "你好", temperature: 0 })).output_text;
const parameters = { type: "object", properties: { city: { enum: ["北京", "Paris"] } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const called = await client.chat.completions
  .stream({ ...asked, tools, tool_choice: "required", parallel_tool_calls: false })
  .finalChatCompletion();
found.call = called.choices[0].message.tool_calls[0].function;
try {
  await client.chat.completions.create({ ...asked, temperature: 9 });
} catch (error) {
  found.error = [error.status, error.param, error.code];
}
console.log(JSON.stringify(found));
