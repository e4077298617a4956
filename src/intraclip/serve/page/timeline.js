// Where and when: one row a camera, one mark a tracklet.

import { h, hourOf, minutes, svg, timeOf } from "./dom.js";

const ROW = 30;
const LEFT = 110;
const WIDTH = 720;
const TOP = 8;

/**
 * A timeline of tracklets.
 * @param entries [{tracklet, kind, opacity}], kind is "query", "same", "other" or "open"
 * @param choose called with the tracklet of a mark that was clicked
 */
export function timeline(entries, choose) {
  const clock = entries.every((e) => e.tracklet.started_at !== null);
  const placed = entries.map((e) => ({ ...e, ...span(e.tracklet, clock) })).filter((e) => e.from !== null);
  if (!placed.length) return h("p", { class: "soft" }, "No times are known of these tracklets, so there is no timeline.");
  const cameras = [...new Set(placed.map((e) => e.tracklet.camera))].sort();
  const first = Math.min(...placed.map((e) => e.from));
  const last = Math.max(...placed.map((e) => e.to));
  const whole = Math.max(last - first, 1);
  const x = (time) => LEFT + 8 + ((time - first) / whole) * (WIDTH - LEFT - 16);
  const bottom = TOP + cameras.length * ROW;
  const ticks = Array.from({ length: 5 }, (_, i) => first + (i * whole) / 4);
  const name = (text) => (text.length > 14 ? `${text.slice(0, 13)}…` : text);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${bottom + 24}`, class: "timeline", role: "group", "aria-label": `Timeline of ${placed.length} tracklets in ${cameras.length} cameras` },
    cameras.map((camera, i) => [
      svg("line", { x1: LEFT, x2: WIDTH, y1: TOP + (i + 0.5) * ROW, y2: TOP + (i + 0.5) * ROW, class: "rail" }),
      svg("text", { x: LEFT - 10, y: TOP + (i + 0.5) * ROW + 4, class: "camera" }, name(camera), svg("title", {}, camera)),
    ]),
    ticks.map((time, i) => svg("text", { x: x(time), y: bottom + 17, class: `tick ${["first", "", "", "", "last"][i]}` }, clock ? hourOf(time) : minutes(time))),
    placed.map((e) => mark(e, x, TOP + (cameras.indexOf(e.tracklet.camera) + 0.5) * ROW, choose)));
  const about = clock ? null : h("p", { class: "hint" }, "Seconds are counted from the start of each camera's video; cameras agree only if their videos began together.");
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Timeline" }, drawing, about);
}

function span(tracklet, clock) {
  const from = clock ? tracklet.started_at : tracklet.start_s;
  if (from === null) return { from: null, to: null };
  const length = tracklet.start_s !== null && tracklet.end_s !== null ? tracklet.end_s - tracklet.start_s : 0;
  return { from, to: from + Math.max(0, length) };
}

function mark(e, x, y, choose) {
  const text = `${e.tracklet.id}, ${e.tracklet.camera}, ${timeOf(e.tracklet)}${e.text ? `, ${e.text}` : ""}`;
  const go = () => choose(e.tracklet);
  const width = Math.max(9, x(e.to) - x(e.from));
  return svg("rect", {
    x: Math.min(x(e.from), WIDTH - width - 1), y: y - 9, width, height: 18, rx: 4, class: `mark ${e.kind}`, "fill-opacity": e.opacity ?? 1,
    tabindex: "0", role: "button", "aria-label": text, onclick: go,
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); } },
  }, svg("title", {}, text));
}
