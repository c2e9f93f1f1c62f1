// The open conversation as a file: what is read as Markdown, every branch as JSON.
import { blocks } from "./conversation.js";
import { make } from "./dom.js";
import { settings, words } from "./settings.js";

export function asMarkdown(conversation) {
  const parts = blocks(conversation).map(({ role, content, model }) =>
    `## ${role === "user" ? words.you : model || words.answer}\n\n${content}\n`);
  return `# ${conversation.title || words.untitled}\n\n${parts.join("\n")}`;
}

export function asJson(conversation) {
  const turns = conversation.turns.map(({ id, parent, role, content, model }) => ({ id, parent, role, content, model }));
  const { title, leaf } = conversation;
  return `${JSON.stringify({ title, system: settings.system, leaf, turns }, null, 2)}\n`;
}

export function download(name, text, type) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name.replace(/[\\/:*?"<>|\u0000-\u001f]/g, "_").slice(0, 80);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
