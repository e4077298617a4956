// The service's API. Every error becomes one sentence for people.

const ROOT = "/api/v1";

export class Refused extends Error {}

async function call(method, path, { query = {}, json, form } = {}) {
  const headers = { "X-Intraclip": "1" };
  if (json) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(ROOT + path + parameters(query), {
      method, headers, body: json ? JSON.stringify(json) : form, credentials: "same-origin",
    });
  } catch {
    throw new Refused("The service does not answer. Is it still running?");
  }
  if (answer.status === 401) {
    location.assign("/login");
    throw new Refused("The session is over.");
  }
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(body.message || `The service answered ${answer.status}.`);
  return body;
}

function parameters(query) {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).filter((v) => v !== "" && v !== null && v !== undefined).map((v) => [name, v]));
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

export const stats = () => call("GET", "/stats");
export const tracklets = (query) => call("GET", "/tracklets", { query });
export const tracklet = (id) => call("GET", "/tracklet", { query: { id } });
export const search = (json) => call("POST", "/search", { json });
export const judge = (query, tracklet, same) => call("PUT", "/judgement", { json: { query, tracklet, same } });
export const retract = (query, tracklet) => call("DELETE", "/judgement", { query: { query, tracklet } });
export const question = () => call("GET", "/question");
export const unsure = (query, tracklet) => call("PUT", "/unsure", { json: { query, tracklet } });
export const retractUnsure = (query, tracklet) => call("DELETE", "/unsure", { query: { query, tracklet } });
export const label = (ids, person) => call("PUT", "/person", { json: { ids, person } });
export const live = () => call("GET", "/live");
export const alerts = (query) => call("GET", "/alerts", { query });
export const watchList = () => call("GET", "/watch-list");
export const watch = (tracklets, name, rate) => call("POST", "/watch-list", { json: { tracklets, name, rate } });
export const unwatch = (id) => call("DELETE", "/watch-list", { query: { id } });
export const people = () => call("GET", "/people");
export const timeline = (query) => call("GET", "/timeline", { query });
export const remove = (json) => call("POST", "/deletions", { json });
export const log = (before) => call("GET", "/audit", { query: { before } });

export function upload(files, query) {
  const form = new FormData();
  for (const file of files) form.append("files", file);
  return call("POST", "/search/upload", { query, form });
}

export async function logout() {
  const answer = await fetch("/logout", { method: "POST", headers: { "X-Intraclip": "1" } });
  await answer.text(); // to its end: going on earlier would cut it off
  location.assign("/login");
}

export const stripUrl = (id) => `${ROOT}/tracklet/strip${parameters({ id })}`;
export const frameUrl = (id, number) => `${ROOT}/tracklet/frames/${number}${parameters({ id })}`;
