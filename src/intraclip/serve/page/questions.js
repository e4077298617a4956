// Questions, "the same person?", one at a time; answers are judgements, and the next question follows them.

import * as api from "./api.js";
import { count, h, say, timeOf } from "./dom.js";
import { strip } from "./player.js";

const ROUND = 20;

/** Answers of this sitting, so that leaving the view loses neither the count nor the way back. */
const given = [];
let wanted = ROUND;

/** The view. */
export async function questions({ stats }) {
  const view = h("div", { class: "plain wide question" });
  let current = null;
  let busy = false;

  async function next() {
    if (given.length >= wanted) return done();
    const found = await api.question();
    if (!found.query) return nothing(found.reason);
    show(found);
    return undefined;
  }

  function show(found) {
    current = found;
    const answers = stats.read_only
      ? h("p", { class: "soft" }, "Your token may look only: somebody else has to answer.")
      : h("div", { class: "row answers" },
        answerButton("same", "Same person", "y", "confirm"), answerButton("different", "Two people", "n", "reject"),
        answerButton("unsure", "Cannot tell", "?"), undoButton());
    view.replaceChildren(
      h("div", { class: "row spread" }, h("h2", { tabindex: "-1" }, "The same person?"),
        h("p", { class: "soft" }, `${given.length + 1} of ${wanted}`)),
      h("progress", { max: wanted, value: given.length, "aria-label": `${given.length} of ${wanted} answered` }),
      h("div", { class: "pair" }, figure(found.query), figure(found.tracklet)),
      answers,
      h("p", { class: "hint" }, "Y same · N two people · ? cannot tell · U takes the last answer back. A click on a film strip plays it."),
      h("p", { class: "soft" }, found.pairs > 1 ? `The answer may settle ${count(found.pairs, "pair")} of tracklets.` : "The answer settles this pair."));
  }

  function done() {
    current = null;
    view.replaceChildren(
      h("h2", { tabindex: "-1" }, `${count(given.length, "question")} answered`),
      h("p", {}, "The gallery keeps the answers. A network learns from them with:"),
      h("pre", {}, "intraclip adapt --data GALLERY --out RUN"),
      h("div", { class: "row answers" },
        h("button", { class: "primary", onclick: more }, `Ask ${ROUND} more`), undoButton()));
  }

  function nothing(reason) {
    current = null;
    view.replaceChildren(
      h("h2", { tabindex: "-1" }, given.length ? "Nothing more to ask" : "Nothing to ask"),
      h("p", {}, `Nothing is worth asking: ${reason}.`),
      given.length ? h("div", { class: "row answers" }, undoButton()) : null);
  }

  function more() {
    wanted += ROUND;
    act(next);
  }

  function answerButton(answer, text, key, classes = "") {
    return h("button", { class: classes, "data-answer": answer, "aria-keyshortcuts": key, onclick: () => answer_(answer) }, text, h("kbd", { "aria-hidden": "true" }, key.toUpperCase()));
  }

  function undoButton() {
    return h("button", { class: "quiet", "data-answer": "undo", "aria-keyshortcuts": "u", disabled: !given.length, onclick: undo }, "Undo", h("kbd", { "aria-hidden": "true" }, "U"));
  }

  function answer_(answer) {
    const found = current;
    if (!found) return;
    const ids = [found.query.id, found.tracklet.id];
    act(async () => {
      await (answer === "unsure" ? api.unsure(...ids) : api.judge(...ids, answer === "same"));
      given.push({ found, answer });
      await next();
    });
  }

  function undo() {
    const last = given.at(-1);
    if (!last) return;
    const ids = [last.found.query.id, last.found.tracklet.id];
    act(async () => {
      await (last.answer === "unsure" ? api.retractUnsure(...ids) : api.retract(...ids));
      given.pop();
      show(last.found);
      say("The last answer was taken back.");
    });
  }

  /** One thing at a time: a second key while the first answer is on its way would be said about the wrong pair. */
  async function act(work) {
    if (busy) return;
    busy = true;
    view.setAttribute("aria-busy", "true");
    try {
      await work();
      view.querySelector("h2")?.focus({ preventScroll: true });
    } catch (error) {
      say(error.message, "bad");
      await next().catch(() => null); // a tracklet may be gone, or somebody else has answered
    }
    view.removeAttribute("aria-busy");
    busy = false;
  }

  const keys = { y: () => answer_("same"), n: () => answer_("different"), "?": () => answer_("unsure"), d: () => answer_("unsure"), u: undo };
  function onkey(event) {
    if (!view.isConnected) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    const action = stats.read_only ? null : keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }
  document.removeEventListener("keydown", listening);
  listening = onkey;
  document.addEventListener("keydown", listening);
  await next();
  return view;
}

let listening = null;

function figure(tracklet) {
  return h("figure", {}, strip(tracklet),
    h("figcaption", { class: "soft", title: tracklet.id }, [tracklet.camera, timeOf(tracklet), tracklet.id].filter(Boolean).join(" · ")));
}
