// The Markdown that models write: CommonMark and tables, formulas between dollars or brackets, HTML as plain text, and
// emphasis beside Chinese punctuation, which CommonMark does not see (**重要：**内容).
const FORMULA = new RegExp([
  String.raw`\$\$([^$]+?)\$\$`,
  String.raw`\\\[([\s\S]+?)\\\]`,
  String.raw`\\\(([\s\S]+?)\\\)`,
  String.raw`\$(?![\s$])((?:\\.|[^\\$\n])+?)(?<![\s\\])\$(?!\d)`,
].map((each) => `(?:${each})`).join("|"), "y");
const STRONG = /\*\*(?![\s*])([^*\n]+?)(?<!\s)\*\*/uy;
const PUNCTUATED = /^\p{P}|\p{P}$/u;
const CHINESE = /[\p{Script=Han}\u3000-\u303f\uff00-\uffef]/u;

export const dialect = {
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text, block }) => (block ? `<p class="plain">${escape(text.trim())}</p>` : escape(text)),
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    code: ({ text, lang }) => {
      const language = (lang ?? "").trim().split(/\s/)[0];
      return `<pre><code data-language="${escape(language)}">${escape(text)}</code></pre>`;
    },
  },
  extensions: [
    {
      name: "formulaBlock", level: "block",
      start: (text) => text.search(/(?:^|\n)(?:\$\$|\\\[)/),
      tokenizer: (text) => formula("formulaBlock", text, /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/.exec(text), true),
      renderer: (token) => `<p>${tex(token)}</p>`,
    },
    {
      name: "formula", level: "inline",
      start: (text) => text.search(/\$|\\[([]/),
      tokenizer: (text) => {
        FORMULA.lastIndex = 0;
        const found = FORMULA.exec(text);
        return formula("formula", text, found, found?.[1] !== undefined || found?.[2] !== undefined);
      },
      renderer: tex,
    },
    {
      name: "chineseStrong", level: "inline",
      start: (text) => text.indexOf("**"),
      tokenizer(text) {
        STRONG.lastIndex = 0;
        const found = STRONG.exec(text);
        if (!found || !PUNCTUATED.test(found[1]) || !CHINESE.test(text.slice(0, found[0].length + 1))) return undefined;
        return { type: "chineseStrong", raw: found[0], tokens: this.lexer.inlineTokens(found[1]) };
      },
      renderer(token) {
        return `<strong>${this.parser.parseInline(token.tokens)}</strong>`;
      },
    },
  ],
};

function formula(type, text, found, display) {
  if (!found) return undefined;
  return { type, raw: found[0], display, text: found.slice(1).find((each) => each !== undefined).trim() };
}

function tex({ display, text }) {
  return `<code class="math${display ? " display" : ""}">${escape(text)}</code>`;
}

function escape(text) {
  return text.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
}
