// What the reader thinks of an answer: a thumb, and after it a reason and what should have been said.
import { explain } from "./answering.js";
import { json } from "./api.js";
import { newId } from "./conversation.js";
import { button, iconButton, make } from "./dom.js";
import { server, words } from "./settings.js";

export async function sendFeedback(opinion) {
  await json("/v1/feedback", { method: "POST", body: { id: newId(), ...opinion } });
}

// Two buttons and the place for the form. `about()` gives what is judged, as fields of the request; `turn` remembers.
export function feedbackButtons(turn, about) {
  if (!server.keeps) return { buttons: [], form: "" };
  const form = make("form", "feedback");
  form.hidden = true;
  const buttons = [["up", 1], ["down", -1]].map(([name, rating]) =>
    iconButton(name, words[name], () => rate(turn.rating === rating ? 0 : rating)));
  const show = () => buttons.forEach((item, k) => item.setAttribute("aria-pressed", turn.rating === [1, -1][k]));
  async function rate(rating) {
    turn.rating = rating;
    show();
    form.hidden = rating === 0;
    if (rating === 0) return; // an opinion that was given stays given; another one may follow
    await deliver(form, { ...about(), rating });
    fillForm(form, turn, about);
  }
  show();
  return { buttons, form };
}

function fillForm(form, turn, about) {
  const reason = field(words.reason, turn.rating > 0 ? words.reasonGood : words.reasonBad);
  const correction = field(words.correction, words.correctionHow);
  const send = make("button", "primary", words.sendFeedback);
  const note = make("p", "note", words.thanks);
  note.setAttribute("role", "status");
  form.replaceChildren(note, reason.label, ...(turn.rating < 0 ? [correction.label] : []),
    make("div", "row", button(words.close, () => (form.hidden = true), "quiet"), send));
  reason.input.focus();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const said = { reason: reason.input.value.trim(), correction: correction.input.value.trim() };
    if (!said.reason && !said.correction) return void (form.hidden = true);
    if (await deliver(form, { ...about(), rating: turn.rating, ...said })) {
      form.replaceChildren(make("p", "note", words.thanksAll));
    }
  };
}

async function deliver(form, opinion) {
  form.querySelector(".wrong")?.remove();
  try {
    await sendFeedback(opinion);
    return true;
  } catch (error) {
    form.append(make("p", "wrong", words.notSent(explain(error))));
    return false;
  }
}

function field(name, placeholder) {
  const input = make("textarea");
  Object.assign(input, { rows: 2, placeholder, maxLength: 100_000 });
  return { input, label: make("label", "", name, input) };
}
