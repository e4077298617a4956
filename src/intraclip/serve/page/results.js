// Ranked answers of a search: film strips with camera, time, distance and probability; confirm, reject; a timeline.

import * as api from "./api.js";
import { card, deleteButton, searchLink, walkable } from "./cards.js";
import { count, h, say } from "./dom.js";
import { timeline } from "./timeline.js";

/**
 * The answers.
 * @param found what the API answered
 * @param reload called when a tracklet was deleted
 */
export function results(found, reload) {
  const query = found.query;
  const place = h("section", { class: "times", "aria-label": "Timeline by camera" });
  const list = walkable(h("ol", { class: "cards ranked", "aria-label": "Answers, best first" }));
  list.append(...found.matches.map((match) => answer(match)));
  redraw();

  function answer(match) {
    const t = match.tracklet;
    const said = h("span", { class: "said" });
    const buttons = query ? [judgeButton("confirm", true), judgeButton("reject", false)] : [];
    const item = card(t, {
      lines: [score(match, found, query ? said : null)],
      actions: [...buttons, searchLink(t), deleteButton(t.id, { ids: [t.id] }, () => { item.remove(); reload(); })],
    });
    item.prepend(h("span", { class: "rank", "aria-label": `Rank ${match.rank}` }, match.rank));
    show();

    function judgeButton(action, same) {
      const text = same ? "Same" : "Not";
      return h("button", {
        class: action, "data-action": action, "aria-pressed": "false",
        "aria-label": same ? `Confirm that ${t.id} is the same person` : `Reject: ${t.id} is somebody else`,
        onclick: async () => {
          try {
            if (match.judged === same) {
              await api.retract(query.id, t.id);
              match.judged = null;
            } else {
              await api.judge(query.id, t.id, same);
              match.judged = same;
            }
            show();
            redraw();
            say(match.judged === null ? `Taken back: ${t.id}.` : `${match.judged ? "Confirmed" : "Rejected"}: ${t.id}.`);
          } catch (error) {
            say(error.message, "bad");
          }
        },
      }, text);
    }
    function show() {
      item.classList.toggle("same", match.judged === true);
      item.classList.toggle("other", match.judged === false);
      said.textContent = { true: "confirmed", false: "rejected" }[match.judged] ?? "";
      for (const button of buttons) {
        button.setAttribute("aria-pressed", String(match.judged === (button.dataset.action === "confirm")));
      }
    }
    return item;
  }

  function redraw() {
    const entries = found.matches.map((m) => ({
      tracklet: m.tracklet,
      kind: m.judged === true ? "same" : m.judged === false ? "other" : "open",
      opacity: m.judged === null ? 0.25 + 0.75 * (m.probability ?? 1 / m.rank) : 1,
      text: { true: "confirmed", false: "rejected" }[m.judged] ?? `answer ${m.rank}`,
    }));
    if (query) entries.unshift({ tracklet: query, kind: "query", text: "the query" });
    place.replaceChildren(
      h("div", { class: "row spread" }, h("h2", {}, "Where and when"), key(query)),
      timeline(entries, (t) => {
        const item = [...list.children].find((li) => li.dataset.id === t.id);
        item?.scrollIntoView({ block: "center" });
        item?.focus();
      }));
  }

  if (!found.matches.length) return [h("p", { class: "empty-note" }, "No tracklet is left to compare with. Widen the filters.")];
  return [
    place,
    h("div", { class: "row spread" }, h("h2", {}, count(found.matches.length, "answer")),
      h("p", { class: "hint" }, "← → walk · Enter plays · C same · R not · S searches")),
    list,
    found.exact ? null : h("p", { class: "hint" }, "An index chose what was compared; a few answers may be missing."),
  ];
}

function key(query) {
  return h("p", { class: "key hint" },
    query ? [h("i", { class: "query" }), "query "] : null,
    query ? [h("i", { class: "same" }), "confirmed "] : null,
    h("i", { class: "open" }), "answer, the stronger the likelier");
}

function score(match, found, said) {
  const parts = [];
  if (match.probability !== null) {
    const percent = match.probability < 0.01 ? "under 1" : match.probability > 0.99 ? "over 99" : Math.round(100 * match.probability);
    parts.push(h("span", { class: "likely" },
      h("meter", { min: 0, max: 1, value: match.probability, "aria-hidden": "true" }), ` ${percent} % same person`));
  }
  parts.push(h("span", { class: "soft", title: `${found.metric} distance` }, `distance ${match.distance.toFixed(3)}`));
  if (match.passes !== null) parts.push(h("span", { class: match.passes ? "good" : "soft" }, match.passes ? "✓ passes" : "does not pass"));
  return h("p", { class: "score" }, parts, said);
}
