// The cameras that are watched, the alerts, and the watch-list.

import * as api from "./api.js";
import { searchHref } from "./cards.js";
import { count, dateOf, h, say, timeOf } from "./dom.js";
import { strip } from "./player.js";

const EVERY_MS = 2000;
const LIST_EVERY = 5;
const MOST = 100; // alerts on the page, which may be open for days

/** The view; it keeps itself up to date as long as it is shown. */
export async function live({ stats, reload }) {
  const cameras = h("section", { class: "cameras", "aria-label": "Cameras" });
  const alerts = h("ol", { class: "alerts", "aria-label": "Alerts, the newest first" });
  const nothing = h("p", { class: "soft" }, "No alerts.");
  const older = h("p", { class: "soft", hidden: true }, `The newest ${MOST}; all of them: `, h("code", {}, "intraclip alerts list GALLERY"), ".");
  const list = h("ul", { class: "watched", "aria-label": "Watch-list" });
  const view = h("div", { class: "plain wide live" }, cameras,
    h("section", {}, h("h2", {}, "Alerts"), alerts, nothing, older),
    h("section", {}, h("h2", {}, "Who is looked for"), list,
      stats.false_match_rates.length ? h("p", { class: "soft" }, "Put somebody here with “Look for” on a tracklet.")
        : h("p", { class: "soft" }, "A watch-list needs a calibration: run ", h("code", {}, "intraclip gallery calibrate"), ".")));
  let newest = "", raised = -1, held = -1, rounds = 0;

  async function showAlerts() {
    const found = await api.alerts({ after: newest, limit: MOST });
    if (found.length) newest = found[0].id;
    alerts.prepend(...found.map((a) => alertItem(a, showList)));
    while (alerts.children.length > MOST) alerts.lastElementChild.remove();
    older.hidden = alerts.children.length < MOST;
    nothing.hidden = alerts.children.length > 0;
  }
  async function showList() {
    const people = await api.watchList();
    list.replaceChildren(...people.map((person) => watchedItem(person, showList)));
  }
  async function refresh() {
    const status = await api.live();
    cameras.replaceChildren(...cameraRows(status));
    // A service that watches no cameras itself does not know when another program raises an alert.
    if (!status.watching || status.alerts !== raised) await showAlerts();
    raised = status.alerts;
    // What was compared is counted now and then. Nothing is taken from under a finger or a keyboard.
    if (++rounds % LIST_EVERY === 0 && !list.matches(":hover, :focus-within")) await showList();
    if (held >= 0 && status.tracklets !== held) await reload(false);
    held = status.tracklets;
    return status.watching;
  }
  const watching = await refresh();
  await showList();
  async function again() {
    if (!view.isConnected) return;
    try {
      await refresh();
    } catch (error) {
      say(error.message, "bad");
    }
    setTimeout(again, watching ? EVERY_MS : 5 * EVERY_MS);
  }
  setTimeout(again, EVERY_MS);
  return view;
}

const STATES = { live: "live", connecting: "connecting", waiting: "lost, trying again", ended: "over" };

function cameraRows(status) {
  if (!status.watching) {
    return [h("h2", {}, "Cameras"), h("p", {}, "This service watches no cameras. To watch some:"),
      h("pre", {}, "intraclip live GALLERY --camera 1=rtsp://HOST/STREAM --serve")];
  }
  const heads = {
    Camera: null, State: null,
    "Frames/s": "Frames a second in which people are followed, of those that come",
    Searched: "Frames in which the detector looked for people",
    Carried: "Frames not searched, as nobody can have moved far since the last search",
    Dropped: "Frames that this machine was too slow for",
    People: null, Tracklets: null,
  };
  const rows = status.cameras.map((c) => h("tr", {},
    h("th", { scope: "row" }, c.name, h("span", { class: "soft source" }, c.source)),
    h("td", { class: `state ${c.state}`, title: c.problem || null }, STATES[c.state] ?? c.state),
    h("td", {}, c.state === "live" ? `${c.followed_fps.toFixed(1)} of ${c.fps.toFixed(1)}` : "–"),
    h("td", {}, c.searched.toLocaleString()),
    h("td", {}, c.carried.toLocaleString()),
    h("td", {}, c.dropped.toLocaleString()),
    h("td", {}, c.people),
    h("td", {}, c.tracklets.toLocaleString())));
  const told = [`${count(status.tracklets, "tracklet")} and ${count(status.alerts, "alert")} in ${duration(status.seconds)}`];
  if (status.latency_p95 !== null) told.push(`95 % compared within ${status.latency_p95.toFixed(1)} s of leaving`);
  if (status.deleted) told.push(`${count(status.deleted, "tracklet")} deleted by age`);
  const problems = [...status.problems, ...status.cameras.filter((c) => c.problem).map((c) => `${c.name}: ${c.problem}`)];
  return [h("h2", {}, "Cameras"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Cameras" },
      h("table", {}, h("thead", {}, h("tr", {},
        Object.entries(heads).map(([text, about]) => h("th", { scope: "col", title: about }, text)))), h("tbody", {}, rows))),
    h("p", { class: "soft" }, told.join(" · ")),
    ...problems.map((text) => h("p", { class: "bad", role: "alert" }, text))];
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function alertItem(alert, then) {
  const item = h("li", { class: "alert", "data-id": alert.id });
  const said = h("span", { class: "said" });
  const buttons = [true, false].map((same) => h("button", {
    class: same ? "confirm" : "reject", "data-action": same ? "confirm" : "reject", "aria-pressed": "false",
    "aria-label": same ? "It was this person" : "It was somebody else",
    onclick: async () => {
      try {
        if (alert.said === same) {
          await api.retract(alert.reference.id, alert.tracklet.id);
          alert.said = null;
        } else {
          await api.judge(alert.reference.id, alert.tracklet.id, same);
          alert.said = same;
        }
        show();
        await then();
      } catch (error) {
        say(error.message, "bad");
      }
    },
  }, same ? "It is" : "It is not"));
  function show() {
    item.classList.toggle("same", alert.said === true);
    item.classList.toggle("other", alert.said === false);
    said.textContent = { true: "confirmed", false: "rejected" }[alert.said] ?? "";
    buttons[0].setAttribute("aria-pressed", String(alert.said === true));
    buttons[1].setAttribute("aria-pressed", String(alert.said === false));
  }
  const picture = (t, text) => h("figure", {}, strip(t), h("figcaption", { class: "soft" }, text));
  item.append(
    h("div", { class: "row spread" },
      h("p", {}, h("strong", {}, alert.name || `Number ${alert.watched}`), ` in ${alert.camera} `, said),
      h("p", { class: "soft" }, dateOf(alert.at))),
    h("div", { class: "pair" }, picture(alert.tracklet, `seen: ${timeOf(alert.tracklet) || alert.tracklet.id}`), picture(alert.reference, "looked for")),
    h("div", { class: "row" },
      h("span", { class: "likely" }, `${Math.round(100 * alert.probability)} % likely`), ...buttons,
      h("a", { class: "button", href: searchHref(alert.tracklet.id), "data-link": true }, "Search")));
  show();
  return item;
}

function watchedItem(person, then) {
  const rate = `at most ${Math.round(person.rate * 100000) / 100} of 1,000 strangers pass`;
  const learned = person.confirmed + person.rejected
    ? `${person.confirmed} confirmed, ${person.rejected} rejected; strangers pass ${often(person.factor)}`
    : "no alert was judged yet";
  return h("li", {},
    h("div", { class: "faces" }, person.tracklets.slice(0, 3).map((t) => strip(t))),
    h("p", {}, h("strong", {}, person.name || `Number ${person.id}`), h("span", { class: "soft" }, ` ${rate}`)),
    h("p", { class: "soft" }, `${count(person.compared, "tracklet")} compared, ${count(person.alerts, "alert")}; ${learned}.`),
    h("button", {
      class: "quiet", "data-action": "delete", "aria-label": `Look for ${person.name || person.id} no more`,
      onclick: async () => {
        try {
          await api.unwatch(person.id);
          await then();
        } catch (error) {
          say(error.message, "bad");
        }
      },
    }, "Look no more"));
}

/** How much more often strangers pass here than the calibration says, in words. */
function often(factor) {
  if (factor > 0.8 && factor < 1.25) return "as often as the calibration says";
  return `${factor.toPrecision(2)} times as often as the calibration says, and the threshold makes up for it`;
}

/** A button that puts the person of a tracklet on the watch-list; `rates` are those that the calibration resolves. */
export function watchButton(tracklet, rates) {
  const usual = rates.includes(0.001) ? 0.001 : rates[rates.length - 1];
  return h("button", {
    class: "quiet", "data-action": "watch", "aria-label": `Look for the person on ${tracklet.id}`, title: "Raise an alert when they come back",
    onclick: async () => {
      const name = h("input", { id: "watch-name", maxlength: 200, value: tracklet.person, autofocus: true });
      const rate = h("select", { id: "watch-rate" }, rates.map((r) => h("option", { value: r, selected: r === usual }, `${Number((r * 1000).toPrecision(2))} of 1,000`)));
      const dialog = h("dialog", { class: "ask", "aria-labelledby": "watch-title" },
        h("h2", { id: "watch-title" }, "Look for this person"),
        h("label", { class: "field", for: "watch-name" }, "Name in alerts", name),
        h("label", { class: "field", for: "watch-rate" }, "Strangers that may pass", rate),
        h("div", { class: "row" },
          h("button", { onclick: () => dialog.close("no") }, "Cancel"),
          h("button", { class: "primary", onclick: () => dialog.close("yes") }, "Look for")));
      document.body.append(dialog);
      dialog.showModal();
      await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
      dialog.remove();
      if (dialog.returnValue !== "yes") return;
      try {
        await api.watch([tracklet.id], name.value.trim(), Number(rate.value));
        say("On the watch-list: cameras that run look for them from now on.");
      } catch (error) {
        say(error.message, "bad");
      }
    },
  }, "Look for");
}
