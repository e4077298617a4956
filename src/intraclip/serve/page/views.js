// The views: tracklets, a search, an upload, people, one person, the log. Each gives what stands in <main>.

import * as api from "./api.js";
import { card, deleteButton, personHref, searchHref, searchLink, walkable } from "./cards.js";
import { count, dateOf, h, say, timeOf } from "./dom.js";
import { filterForm, filtersOf, optionsOf } from "./filters.js";
import { watchButton } from "./live.js";
import { strip } from "./player.js";
import { results } from "./results.js";
import { timeline } from "./timeline.js";

/** All tracklets, with filters, a page at a time. */
export async function browse({ stats, query, go, reload }) {
  const list = walkable(h("ol", { class: "cards", "aria-label": "Tracklets" }));
  const more = h("button", { class: "more", onclick: () => next().catch((error) => say(error.message, "bad")) }, "More");
  let cursor = "";
  async function next() {
    const page = await api.tracklets({ ...filtersOf(query), limit: 48, cursor });
    list.append(...page.tracklets.map((t) => {
      const item = card(t, { actions: [searchLink(t), ...(stats.false_match_rates.length ? [watchButton(t, stats.false_match_rates)] : []), deleteButton(t.id, { ids: [t.id] }, () => { item.remove(); reload(false); })] });
      return item;
    }));
    cursor = page.cursor;
    more.hidden = !cursor;
  }
  await next();
  return h("div", { class: "split" },
    h("aside", {}, filterForm(stats, query, go, "list")),
    h("div", {},
      h("div", { class: "row spread" }, h("h2", {}, "Whom do you look for?"), h("p", { class: "hint" }, "← → walk · Enter plays · S searches")),
      list.children.length ? list : h("p", { class: "empty-note" }, "No tracklet passes these filters."),
      more));
}

/** The answers to one tracklet. */
export async function search({ stats, query, go, reload }) {
  const id = query.get("query");
  const found = await api.search({ tracklet: id, ...optionsOf(query), own_camera: query.get("own_camera") === "1" });
  const t = found.query;
  return h("div", { class: "split" },
    h("aside", {},
      h("section", { class: "query", "aria-label": "Query" },
        h("h2", {}, "Looking for"), strip(t),
        h("p", { class: "name" }, t.id), h("p", { class: "soft" }, t.camera), h("p", { class: "soft" }, timeOf(t)),
        h("p", {}, h("a", { href: `/?${new URLSearchParams({ view: "person", tracklet: id })}`, "data-link": true }, t.person ? `All of ${t.person}` : "All that was confirmed"))),
      filterForm(stats, query, go, "tracklet")),
    h("div", {}, results(found, () => reload())));
}

/** Choose pictures or a clip, and search for them. */
export async function upload({ stats, query, go }) {
  if (!stats.uploads) {
    return h("div", { class: "plain" }, h("h2", {}, "Search for your own pictures"),
      h("p", {}, "This service runs without a model, so it cannot embed pictures. Start it with the model that the gallery was made with:"),
      h("pre", {}, "intraclip serve GALLERY --model MODEL"),
      h("p", { class: "soft" }, `The gallery's model: ${stats.model || "unnamed"}, fingerprint ${stats.fingerprint.slice(0, 16)}.`));
  }
  const answers = h("div", { "aria-live": "polite" });
  const shown = h("div", { class: "previews" });
  const input = h("input", { id: "files", type: "file", multiple: true, accept: "image/jpeg,image/png,image/webp,video/mp4,video/quicktime,video/webm,video/x-matroska,video/x-msvideo", onchange: preview });
  const button = h("button", { class: "primary", onclick: send }, "Search");
  function preview() {
    for (const image of shown.children) URL.revokeObjectURL(image.src);
    shown.replaceChildren(...[...input.files].filter((f) => f.type.startsWith("image/")).map((f) => h("img", { src: URL.createObjectURL(f), alt: f.name })));
  }
  async function send() {
    const files = [...input.files];
    const size = files.reduce((sum, f) => sum + f.size, 0);
    if (!files.length) return say("Choose pictures or a clip first.", "bad");
    if (files.length > stats.max_files) return say(`At most ${stats.max_files} files make one search.`, "bad");
    if (size > stats.max_upload_bytes) return say(`That is ${Math.round(size / 2 ** 20)} MiB; at most ${Math.round(stats.max_upload_bytes / 2 ** 20)} are taken.`, "bad");
    button.disabled = true;
    try {
      const options = optionsOf(new URLSearchParams(location.search));
      answers.replaceChildren(...results(await api.upload(files, options), send).filter(Boolean));
    } catch (error) {
      say(error.message, "bad");
    }
    button.disabled = false;
    return undefined;
  }
  return h("div", { class: "split" },
    h("aside", {},
      h("section", { class: "query", "aria-label": "Query" },
        h("h2", {}, "Looking for"),
        h("label", { for: "files" }, "Pictures of one person, cut out, or a short clip that shows nobody else"),
        input, shown, button,
        h("p", { class: "hint" }, "The files are embedded here and not kept.")),
      filterForm(stats, query, (next) => go(next, true), "upload")),
    answers);
}

/** People who have a label. */
export async function people() {
  const found = await api.people();
  return h("div", { class: "plain" }, h("h2", {}, "People"),
    found.length
      ? h("ul", { class: "people" }, found.map((p) => h("li", {}, h("a", { href: personHref(p.person), "data-link": true }, p.person), h("span", { class: "soft" }, ` ${count(p.tracklets, "tracklet")}`))))
      : h("p", {}, "Nobody has a label yet. Search for a tracklet, confirm answers, then open “All that was confirmed” to give the person one."));
}

/** One person: by label, or by what was confirmed about a tracklet. */
export async function person({ stats, query, go, reload }) {
  const label = query.get("person");
  const found = await api.timeline(label ? { person: label } : { tracklet: query.get("tracklet") });
  const ids = found.tracklets.map((t) => t.id);
  const name = h("input", { name: "person", value: found.person, maxlength: 128, required: true, autocomplete: "off", placeholder: "name or number", "aria-label": "Label" });
  const list = walkable(h("ol", { class: "cards", "aria-label": "Tracklets of this person" },
    found.tracklets.map((t) => card(t, { actions: [searchLink(t), ...(stats.false_match_rates.length ? [watchButton(t, stats.false_match_rates)] : []), deleteButton(t.id, { ids: [t.id] }, () => reload())] }))));
  const rename = async (event) => {
    event.preventDefault();
    try {
      await api.label(ids, name.value.trim());
      say(`${count(ids.length, "tracklet")} labelled.`);
      go(new URLSearchParams({ person: name.value.trim() }));
    } catch (error) {
      say(error.message, "bad");
    }
  };
  const what = found.person || "this person";
  return h("div", {},
    h("div", { class: "row spread" },
      h("h2", {}, found.person || "Confirmed as one person"),
      h("form", { class: "row label", onsubmit: rename }, name, h("button", {}, found.person ? "Rename" : "Give this label"))),
    h("p", { class: "soft" }, Object.entries(found.cameras).map(([camera, n]) => `${camera} ${n}`).join(" · ")),
    found.conflicts.length ? h("p", { class: "bad" }, `${count(found.conflicts.length, "rejection")} inside this group: what people said contradicts itself, such as ${found.conflicts[0].query} and ${found.conflicts[0].tracklet}.`) : null,
    found.truncated ? h("p", { class: "soft" }, `The first ${ids.length} are shown.`) : null,
    timeline(found.tracklets.map((tracklet) => ({ tracklet, kind: "same" })), (t) => {
      [...list.children].find((li) => li.dataset.id === t.id)?.focus();
    }),
    list,
    found.tracklets.length > 1 ? h("p", { class: "end" }, deleteButton(`all ${count(ids.length, "tracklet")} of ${what}`, label && !found.truncated ? { person: label } : { ids }, () => go(new URLSearchParams()), "Delete all of them")) : null);
}

/** Who searched for what, and what was deleted. */
export async function log() {
  const body = h("tbody");
  const more = h("button", { class: "more", onclick: () => next().catch((error) => say(error.message, "bad")) }, "Older");
  let before = null;
  async function next() {
    const page = await api.log(before);
    body.append(...page.entries.map((e) => h("tr", {},
      h("td", {}, dateOf(e.at)), h("td", {}, e.actor), h("td", {}, e.action), h("td", { class: "detail" }, detail(e.origin ? { ...e.detail, from: e.origin } : e.detail)))));
    before = page.cursor;
    more.hidden = before === null;
  }
  await next();
  const about = h("p", { class: "soft" }, "Who looked at whom, searches, judgements and deletions, logins that failed. Lines are only ever added.");
  return h("div", { class: "plain wide" }, h("h2", {}, "Log"), about,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Log" },
      h("table", {}, h("thead", {}, h("tr", {}, ["When", "Who", "What", "Which"].map((t) => h("th", { scope: "col" }, t)))), body)),
    more);
}

function detail(found) {
  const id = found.tracklet && !found.query ? found.tracklet : null;
  const rest = Object.entries(found).filter(([name]) => name !== "tracklet" || !id)
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ");
  return [id ? h("a", { href: searchHref(id), "data-link": true }, id) : null, id && rest ? " · " : null, rest];
}
