// Elements from data. Text is only ever set as text: whatever a tracklet is called, it cannot become markup.

/** An element: h("button", {class: "primary", onclick: f}, "text", child, null). */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let quiet = 0;

/** Says something at the foot of the page, and to screen readers. */
export function say(text, kind = "") {
  const place = document.getElementById("status");
  place.className = kind;
  place.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { place.textContent = ""; }, kind === "bad" ? 12000 : 5000);
}

/** Asks before something that cannot be undone; resolves to true or false. */
export function ask(title, text, action) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      h("h2", { id: "ask-title" }, title),
      h("p", {}, text),
      h("div", { class: "row" },
        h("button", { onclick: () => dialog.close("no"), autofocus: true }, "Cancel"),
        h("button", { class: "danger", onclick: () => dialog.close("yes") }, action)));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "yes"); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** When a tracklet was seen: by the clock, else in its video, else "". */
export function timeOf(tracklet, brief = false) {
  if (tracklet.started_at !== null) return (brief ? short : clock).format(new Date(1000 * tracklet.started_at));
  if (tracklet.start_s === null) return "";
  const end = tracklet.end_s === null ? "" : `–${minutes(tracklet.end_s)}`;
  return `${minutes(tracklet.start_s)}${end} in the video`;
}

export function dateOf(seconds) {
  return clock.format(new Date(1000 * seconds));
}

export function hourOf(seconds) {
  return short.format(new Date(1000 * seconds));
}

/** 125.3 -> 2:05 */
export function minutes(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function count(n, word) {
  return `${n.toLocaleString()} ${word}${n === 1 ? "" : "s"}`;
}
