// Finds the view that the address names, and keeps the address, the title and the focus in step with it.

import * as api from "./api.js";
import { count, h, say } from "./dom.js";
import { live } from "./live.js";
import { questions } from "./questions.js";
import * as views from "./views.js";

const main = document.getElementById("view");
const about = document.getElementById("about");
let turn = 0;

function viewOf(query) {
  if (query.get("query")) return ["browse", `Search for ${query.get("query")}`, views.search];
  if (query.get("person") || query.get("view") === "person") return ["people", query.get("person") || "One person", views.person];
  return {
    live: ["live", "Live", live],
    upload: ["upload", "Upload", views.upload],
    questions: ["questions", "Questions", questions],
    people: ["people", "People", views.people],
    log: ["log", "Log", views.log],
  }[query.get("view")] ?? ["browse", "Tracklets", views.browse];
}

async function show({ focus = false } = {}) {
  const mine = ++turn;
  const query = new URLSearchParams(location.search);
  const [tab, title, view] = viewOf(query);
  document.title = `${title} – intraclip`;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.setAttribute("aria-busy", "true");
  let content;
  try {
    const stats = await refresh();
    content = await view({ stats, query, go, reload: (again = true) => (again ? show() : refresh()) });
  } catch (error) {
    if (!(error instanceof api.Refused)) console.error(error);
    content = h("p", { class: "bad", role: "alert" }, error.message);
  }
  if (mine !== turn) return; // the user has gone on meanwhile
  main.replaceChildren(content);
  main.removeAttribute("aria-busy");
  if (focus) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

async function refresh() {
  const stats = await api.stats();
  document.body.classList.toggle("read-only", stats.read_only);
  about.textContent = `${count(stats.tracklets, "tracklet")}, ${count(Object.keys(stats.cameras).length, "camera")}`;
  return stats;
}

/** Goes to another address of the page; `stay` changes the address only. */
function go(query, stay = false) {
  const text = query.toString();
  history[stay ? "replaceState" : "pushState"](null, "", text ? `/?${text}` : "/");
  if (!stay) show();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-link]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  show({ focus: true });
});
addEventListener("popstate", () => show());
addEventListener("unhandledrejection", (event) => say(String(event.reason?.message ?? event.reason), "bad"));
document.getElementById("logout")?.addEventListener("click", api.logout);
show();
