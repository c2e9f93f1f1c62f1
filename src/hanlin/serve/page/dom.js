// Pieces of the document. Text only ever enters it as text.
export const $ = (id) => document.getElementById(id);

export function make(tag, className = "", ...inside) {
  const item = document.createElement(tag);
  if (className) item.className = className;
  item.append(...inside);
  return item;
}

const PATHS = {
  copy: "M9 9h10v11H9zM5 15V4h10", again: "M4 12a8 8 0 0 1 14-5l2 2M20 4v5h-5M20 12a8 8 0 0 1-14 5l-2-2M4 20v-5h5",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4", on: "M5 12h14M13 6l6 6-6 6", left: "M14 6l-6 6 6 6", right: "M10 6l6 6-6 6",
  up: "M7 11v9H4v-9zM7 11l4-7c1.7 0 2.6 1.2 2.2 2.8L12.5 10H19a1.6 1.6 0 0 1 1.5 2l-1.8 6.5A2 2 0 0 1 16.8 20H7",
  down: "M17 13V4h3v9zM17 13l-4 7c-1.7 0-2.6-1.2-2.2-2.8L11.5 14H5a1.6 1.6 0 0 1-1.5-2l1.8-6.5A2 2 0 0 1 7.2 4H17",
  chances: "M5 20V11M10 20V5M15 20v-6M20 20V8", remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13", best: "M5 13l4 4L19 7",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

export function button(text, action, className = "") {
  const item = make("button", className, text);
  item.type = "button";
  item.addEventListener("click", action);
  return item;
}

// A button that shows only a picture; its name is told to who cannot see it, and on hover.
export function iconButton(name, label, action) {
  const item = button(icon(name), action, "act");
  item.title = label;
  item.setAttribute("aria-label", label);
  return item;
}

// Runs `change`, and stays at the bottom if the reader is there.
export function following(change) {
  const area = $("scroll");
  const atBottom = area.scrollHeight - area.scrollTop - area.clientHeight < 60;
  change();
  if (atBottom) area.scrollTop = area.scrollHeight;
}

// Copies, and says so on the button for a moment.
export async function copyFrom(item, text, done) {
  await navigator.clipboard.writeText(text);
  const before = item.cloneNode(true).childNodes;
  item.replaceChildren(item.classList.contains("act") ? icon("best") : done);
  $("status").textContent = done;
  setTimeout(() => item.replaceChildren(...before), 1500);
}

// A field that grows with its text.
export function grow(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

export function savedJson(storage, name, otherwise) {
  try {
    return JSON.parse(storage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise; // somebody else wrote there
  }
}
