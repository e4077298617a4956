// A tracklet as a card, and the keys that work on lists of cards.

import * as api from "./api.js";
import { ask, count, h, say, timeOf } from "./dom.js";
import { strip } from "./player.js";

/** The address of a search by a tracklet. */
export const searchHref = (id) => `/?${new URLSearchParams({ query: id })}`;

/** A card: film strip, id, camera, time; more lines and actions as given. */
export function card(tracklet, { lines = [], actions = [], classes = "" } = {}) {
  return h("li", { class: `card ${classes}`, tabindex: "-1", "data-id": tracklet.id },
    strip(tracklet),
    h("div", { class: "words" },
      h("p", { class: "name", title: tracklet.id }, tracklet.id),
      h("p", { class: "soft" }, [tracklet.camera, timeOf(tracklet, true)].filter(Boolean).join(" · ")),
      tracklet.person ? h("p", {}, h("a", { href: personHref(tracklet.person), "data-link": true, class: "person" }, tracklet.person)) : null,
      lines),
    h("div", { class: "actions" }, actions));
}

export const personHref = (person) => `/?${new URLSearchParams({ person })}`;

export function searchLink(tracklet, text = "Search") {
  return h("a", { class: "button", href: searchHref(tracklet.id), "data-link": true, "aria-label": `Search for ${tracklet.id}` }, text);
}

/** A button that deletes tracklets for good, after asking; `then` is called when they are gone. */
export function deleteButton(what, wanted, then, text = "Delete") {
  return h("button", {
    class: "quiet", "aria-label": `Delete ${what}`, title: "Delete for good", "data-action": "delete",
    onclick: async () => {
      try {
        const would = await api.remove({ ...wanted, dry_run: true });
        const told = `This removes ${count(would.ids.length, "tracklet")} with ${would.ids.length === 1 ? "its" : "their"} embeddings, `
          + `${count(would.pictures, "picture")} and ${count(would.judgements, "judgement")}. It cannot be undone.`;
        if (!(await ask(`Delete ${what}?`, told, "Delete for good"))) return;
        const gone = await api.remove(wanted);
        say(`Removed ${count(gone.ids.length, "tracklet")}, ${count(gone.pictures, "picture")}, ${count(gone.judgements, "judgement")}. ${gone.note}`);
        then();
      } catch (error) {
        say(error.message, "bad");
      }
    },
  }, text);
}

/** Arrow keys, or j and k, walk over the cards of a list; letters press the card's buttons. */
export function walkable(list) {
  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const own = event.target.closest("li.card");
    if (!own) return;
    const step = { j: 1, ArrowRight: 1, ArrowDown: 1, k: -1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      (step > 0 ? own.nextElementSibling : own.previousElementSibling)?.focus();
      return;
    }
    const action = { c: "confirm", r: "reject", s: "search", p: "play" }[event.key]
      ?? (event.key === "Enter" && event.target === own ? "play" : null);
    if (!action) return;
    event.preventDefault();
    const selector = { play: ".strip", search: "a.button" }[action] ?? `[data-action=${action}]`;
    own.querySelector(selector)?.click();
  });
  return list;
}
