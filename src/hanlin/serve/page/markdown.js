// Markdown of a model as elements: parsed by marked, cleaned by DOMPurify, code coloured by highlight.js, formulas set by
// KaTeX. HTML in it is shown as the text that it is. Without the libraries everything is shown as plain text.
import { button, copyFrom, make } from "./dom.js";
import { dialect } from "./dialect.js";
import { server, words } from "./settings.js";

const MOST_COLOURED = 50_000; // characters of code; beyond, colours take too long
const CLEAN = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true },
  FORBID_TAGS: ["style", "form", "input", "button", "textarea", "select", "img", "picture", "audio", "video"],
  FORBID_ATTR: ["style", "id", "name"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

const libraries = await load();
export const isFormatted = libraries !== null;

async function load() {
  if (!server.vendor) return null;
  try {
    const [{ Marked }, purify, highlight] = await Promise.all(
      ["marked", "dompurify", "highlight"].map((name) => import(`${server.vendor}/${name}.js`)),
    );
    return { marked: new Marked(dialect), purify: purify.default, highlight: highlight.default };
  } catch {
    return null;
  }
}

// An element, and `show(text)`, which makes it show a text; a longer text keeps the blocks that have not changed.
export function markdownView() {
  if (!isFormatted) {
    const element = make("div", "text");
    return { element, show: (text) => (element.textContent = text) };
  }
  const element = make("div", "text markdown");
  let shown = []; // [{raw, nodes}], a top-level block each
  function show(text) {
    const tokens = libraries.marked.lexer(text);
    let same = 0;
    while (same < shown.length && tokens[same]?.raw === shown[same].raw) same++;
    for (const old of shown.slice(same)) old.nodes.forEach((node) => node.remove());
    shown = shown.slice(0, same);
    for (const token of tokens.slice(same)) {
      const fragment = render(Object.assign([token], { links: tokens.links }));
      shown.push({ raw: token.raw, nodes: [...fragment.childNodes] });
      element.append(fragment);
    }
  }
  return { element, show };
}

function render(tokens) {
  const fragment = libraries.purify.sanitize(libraries.marked.parser(tokens), CLEAN);
  for (const link of fragment.querySelectorAll("a")) Object.assign(link, { target: "_blank", rel: "noopener noreferrer nofollow" });
  for (const table of fragment.querySelectorAll("table")) {
    const frame = make("div", "table");
    frame.tabIndex = 0; // to be scrolled by keys
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const code of fragment.querySelectorAll("pre > code")) dressCode(code);
  for (const formula of fragment.querySelectorAll("code.math")) setFormula(formula);
  return fragment;
}

function dressCode(code) {
  const text = code.textContent.replace(/\n$/, "");
  const language = code.dataset.language;
  code.textContent = text;
  if (libraries.highlight.getLanguage(language) && text.length < MOST_COLOURED) {
    const coloured = libraries.highlight.highlight(text, { language, ignoreIllegals: true }).value;
    code.replaceChildren(libraries.purify.sanitize(coloured, CLEAN));
  }
  const frame = make("div", "code");
  const head = make("div", "code-head", make("span", "", language || words.code));
  if (navigator.clipboard) {
    const copy = button(words.copy, () => copyFrom(copy, text, words.copied));
    head.append(copy);
  }
  const pre = code.parentElement;
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  frame.append(head, pre);
}

let katex = null;
function loadKatex() {
  const sheet = make("link");
  Object.assign(sheet, { rel: "stylesheet", href: `${server.vendor}/katex.css` });
  document.head.append(sheet);
  return import(`${server.vendor}/katex.js`).then(() => globalThis.katex);
}

// KaTeX sets styles through the CSSOM, which the page's policy allows, and adds MathML for those who listen.
async function setFormula(code) {
  try {
    katex ??= loadKatex();
    const setter = await katex;
    const place = make("span", "formula");
    setter.render(code.textContent, place, {
      displayMode: code.classList.contains("display"),
      throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200, errorColor: "currentcolor",
    });
    code.replaceWith(place);
  } catch {
    // What cannot be read as a formula stays as it was written.
  }
}
