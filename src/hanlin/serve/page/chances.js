// How likely the model found each token: shades in the text, and the likeliest others on hover or by the arrow keys.
import { $, make } from "./dom.js";
import { words } from "./settings.js";

const SHADES = [0.9, 0.5, 0.2, 0.05]; // a token less likely than the k-th has shade k + 1

// Collects chunks of a stream as pieces: a text and the tokens that made it. Tokens that hold parts of a
// character (their own text has U+FFFD) are one piece with those that complete it.
export class Pieces {
  constructor() {
    this.done = []; // [{text, tokens}]
    this.waiting = [];
    this.text = "";
  }

  add(text, tokens) {
    this.text += text;
    this.waiting.push(...tokens);
    while (this.waiting.length && this.text) this.take();
  }

  take() {
    const [first] = this.waiting;
    const whole = !first.token.includes("\ufffd");
    if (whole && this.text.startsWith(first.token)) return this.give(1, first.token.length);
    const [count, length] = this.spelled();
    if (count) return this.give(count, length);
    const next = this.waiting.findIndex((one, k) => k > 0 && !one.token.includes("\ufffd"));
    const end = next < 0 ? -1 : this.text.indexOf(this.waiting[next].token);
    if (end > 0) return this.give(next, end);
    return this.give(this.waiting.length, this.text.length);
  }

  // How many tokens, by their bytes where these are told, spell whole characters, and how long their text is.
  spelled() {
    const bytes = [];
    for (const [k, one] of this.waiting.entries()) {
      if (!one.bytes) break;
      bytes.push(...one.bytes);
      const text = new TextDecoder().decode(new Uint8Array(bytes));
      if (!text.includes("\ufffd")) return this.text.startsWith(text) ? [k + 1, text.length] : [0, 0];
    }
    return [0, 0];
  }

  give(tokens, length) {
    this.done.push({ text: this.text.slice(0, length), tokens: this.waiting.splice(0, tokens) });
    this.text = this.text.slice(length);
  }
}

export function chancesView(pieces) {
  const element = make("div", "text chances");
  element.tabIndex = 0;
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", words.chancesHow);
  const spans = pieces.map((piece) => {
    const span = make("span", `shade-${shade(piece)}`, piece.text);
    span.addEventListener("mouseenter", () => showTip(span, piece));
    span.addEventListener("mouseleave", hideTip);
    return span;
  });
  element.append(...spans);
  let at = -1;
  element.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !spans.length) return;
    event.preventDefault();
    spans[at]?.classList.remove("here");
    at = Math.max(0, Math.min(spans.length - 1, at + step));
    spans[at].classList.add("here");
    spans[at].scrollIntoView({ block: "nearest" });
    showTip(spans[at], pieces[at]);
    $("status").textContent = $("tip").innerText;
  });
  element.addEventListener("blur", () => {
    spans[at]?.classList.remove("here");
    hideTip();
  });
  return element;
}

function shade({ tokens }) {
  const least = Math.exp(Math.min(0, ...tokens.map((one) => one.logprob)));
  return SHADES.filter((bound) => least < bound).length;
}

function showTip(span, { tokens }) {
  const tip = $("tip");
  tip.replaceChildren(...tokens.flatMap((one) => {
    const rows = one.top.some(([name]) => name === one.name) ? one.top : [[one.name, one.logprob], ...one.top];
    return rows.map(([name, logprob]) => row(name, Math.exp(logprob), name === one.name));
  }));
  tip.hidden = false;
  const box = span.getBoundingClientRect();
  const below = box.bottom + tip.offsetHeight + 8 < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
}

function row(name, chance, chosen) {
  const bar = make("meter");
  bar.value = chance;
  const visible = name.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "∅";
  const text = chance >= 0.0005 ? `${(chance * 100).toFixed(1)}%` : "<0.1%";
  return make("div", chosen ? "chance chosen" : "chance", make("code", "", visible), bar, make("span", "", text));
}

function hideTip() {
  $("tip").hidden = true;
}
