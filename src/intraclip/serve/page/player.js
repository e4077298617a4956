// Plays a tracklet: a dialog that flips through its frames, by itself or by hand.

import * as api from "./api.js";
import { h, say, timeOf } from "./dom.js";

const PERIOD_MS = 160;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Opens the player; it gives the focus back to where it was when it closes. */
export async function play(tracklet) {
  let frames;
  try {
    ({ frames } = await api.tracklet(tracklet.id));
  } catch (error) {
    say(error.message, "bad");
    return;
  }
  if (!frames) {
    say("There are no frames of this tracklet to play.");
    return;
  }
  const images = pictures(tracklet, frames);
  let place = 0;
  let timer = 0;
  const picture = h("div", { class: "frame" });
  const where = h("output", { class: "soft" });
  const slider = h("input", { type: "range", min: 0, max: frames - 1, value: 0, "aria-label": "Frame", oninput: () => { stop(); show(Number(slider.value)); } });
  const toggle = h("button", { onclick: () => (timer ? stop() : start()) }, "Play");

  function show(next) {
    place = (next + frames) % frames;
    picture.replaceChildren(images[place]);
    slider.value = place;
    where.textContent = `frame ${place + 1} of ${frames}`;
  }
  function start() {
    toggle.textContent = "Pause";
    timer = setInterval(() => show(place + 1), PERIOD_MS);
  }
  function stop() {
    toggle.textContent = "Play";
    clearInterval(timer);
    timer = 0;
  }
  const keys = {
    ArrowRight: () => { stop(); show(place + 1); },
    ArrowLeft: () => { stop(); show(place - 1); },
    " ": () => toggle.click(),
  };
  const dialog = h("dialog", {
    class: "player", "aria-label": `Tracklet ${tracklet.id}`,
    onkeydown: (event) => {
      const action = keys[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    },
    onclose: () => { stop(); dialog.remove(); },
    onclick: (event) => { if (event.target === dialog) dialog.close(); },
  },
    h("div", { class: "inside" },
      h("h2", {}, tracklet.id),
      h("p", { class: "soft" }, [tracklet.camera, timeOf(tracklet)].filter(Boolean).join(" · ")),
      picture, slider,
      h("div", { class: "row" }, toggle, where, h("button", { onclick: () => dialog.close() }, "Close")),
      h("p", { class: "hint" }, "Space plays and pauses, ← and → step, Esc closes.")));
  document.body.append(dialog);
  show(0);
  dialog.showModal();
  toggle.focus();
  if (!calm.matches) start();
}

// The elements themselves are swapped: pictures are not to be cached, so another one with this address would ask again.
function pictures(tracklet, frames) {
  return Array.from({ length: frames }, (_, i) =>
    h("img", { src: api.frameUrl(tracklet.id, i), alt: `Frame ${i + 1} of tracklet ${tracklet.id}` }));
}

/** A film strip that plays in place while the pointer rests on it or it has the focus; a click opens the player. */
export function strip(tracklet) {
  const still = h("img", { class: "still", src: api.stripUrl(tracklet.id), alt: "", loading: "lazy", width: 328, height: 128 });
  const moving = h("span", { class: "moving", hidden: true });
  const button = h("button", {
    class: "strip", "aria-label": `Play tracklet ${tracklet.id}`, onclick: () => play(tracklet),
    onpointerenter: (event) => { if (event.pointerType === "mouse") begin(); }, onpointerleave: end,
    onfocus: () => { if (button.matches(":focus-visible")) begin(); }, onblur: end,
  }, still, moving);
  still.addEventListener("error", () => {
    still.remove();
    button.classList.add("empty");
    button.prepend(h("span", {}, "no pictures"));
  });
  let images = null;
  let timer = 0;
  let wanted = false;

  async function begin() {
    if (calm.matches || timer || wanted) return;
    wanted = true;
    try {
      images ??= pictures(tracklet, (await api.tracklet(tracklet.id)).frames);
    } catch {
      images = [];
    }
    if (!wanted || !images.length) return;
    let place = 0;
    const next = () => {
      const image = images[place++ % images.length];
      if (!image.complete) return;
      moving.replaceChildren(image);
      moving.hidden = false;
    };
    next();
    timer = setInterval(next, PERIOD_MS);
  }
  function end() {
    wanted = false;
    clearInterval(timer);
    timer = 0;
    moving.hidden = true;
  }
  return button;
}
