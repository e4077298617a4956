// The form that narrows lists and searches down. Its state stands in the page's address.

import { h } from "./dom.js";

const NAMES = ["camera", "person_is", "since", "until", "from_s", "to_s", "own_camera", "rate", "k"];

/** The filters that an address holds, as the API takes them. */
export function filtersOf(query) {
  const found = {};
  if (query.get("camera")) found.camera = query.getAll("camera");
  if (query.get("person_is")) found.person = [query.get("person_is")];
  for (const name of ["since", "until"]) if (query.get(name)) found[name] = new Date(query.get(name)).getTime() / 1000;
  for (const name of ["from_s", "to_s"]) if (query.get(name)) found[name] = Number(query.get(name));
  return found;
}

/** The same, with what only searches take. */
export function optionsOf(query) {
  const found = filtersOf(query);
  found.k = Number(query.get("k") || 20);
  if (query.get("rate")) found.false_match_rate = Number(query.get("rate"));
  return found;
}

/**
 * The form.
 * @param stats of the gallery
 * @param query the page's address, URLSearchParams
 * @param change called with the new address when something changes
 * @param kind "list", "tracklet" or "upload"
 */
export function filterForm(stats, query, change, kind) {
  const clock = stats.started_at !== null;
  const searching = kind !== "list";
  const form = h("form", { class: "filters", "aria-label": "Filters", onsubmit: (e) => { e.preventDefault(); apply(); }, onchange: apply },
    h("fieldset", {},
      h("legend", {}, "Cameras"),
      Object.entries(stats.cameras).map(([camera, n]) => h("label", { class: "check" },
        h("input", { type: "checkbox", name: "camera", value: camera, checked: query.getAll("camera").includes(camera) }),
        h("span", {}, camera), h("span", { class: "soft" }, n.toLocaleString())))),
    clock
      ? [field("Seen from", "since", "datetime-local", { step: 1 }), field("until", "until", "datetime-local", { step: 1 })]
      : stats.start_s !== null ? [field("From second", "from_s", "number", { min: 0, step: "any" }), field("to second", "to_s", "number", { min: 0, step: "any" })] : null,
    Object.keys(stats.people).length ? h("label", { class: "field" }, "Person", h("select", { name: "person_is" },
      h("option", { value: "" }, "anybody"),
      Object.keys(stats.people).map((p) => h("option", { value: p, selected: query.get("person_is") === p }, p)))) : null,
    kind === "tracklet" ? h("label", { class: "check" },
      h("input", { type: "checkbox", name: "own_camera", value: "1", checked: query.get("own_camera") === "1" }), h("span", {}, "search its own camera too")) : null,
    searching && stats.calibrated ? h("label", { class: "field" }, "False-match rate", h("select", { name: "rate" },
      h("option", { value: "" }, "do not decide"),
      stats.false_match_rates.map((r) => h("option", { value: r, selected: Number(query.get("rate")) === r }, words(r))))) : null,
    searching ? h("label", { class: "field" }, "Answers", h("select", { name: "k" },
      [10, 20, 50, 100].map((k) => h("option", { value: k, selected: Number(query.get("k") || 20) === k }, k)))) : null);

  function field(text, name, type, more) {
    return h("label", { class: "field" }, text, h("input", { name, type, value: query.get(name) ?? "", ...more }));
  }
  function apply() {
    const next = new URLSearchParams();
    for (const name of ["query", "view"]) if (query.get(name)) next.set(name, query.get(name));
    for (const [name, value] of new FormData(form)) if (value && !(name === "k" && value === "20")) next.append(name, value);
    change(next);
  }
  return h("details", { class: "filterbox", open: matchMedia("(min-width: 60rem)").matches || NAMES.some((n) => query.has(n)) }, h("summary", {}, "Filters"), form);
}

/** 0.001 -> "1 stranger in 1,000" */
function words(rate) {
  return `1 stranger in ${Math.round(1 / rate).toLocaleString()}`;
}
