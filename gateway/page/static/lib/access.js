// Requests to the service, with this tab's token if it has one. sessionStorage keeps the token until the tab is closed.

import { big, parse } from "./exact.js";

const KEY = "firnline-token";

export const token = () => sessionStorage.getItem(KEY);
export const setToken = (text) => sessionStorage.setItem(KEY, text);
export const forgetToken = () => sessionStorage.removeItem(KEY);

export class Refused extends Error {
  // `where` names the wrong part of the request, such as "query endTime".
  constructor(status, message, where = "") {
    super(message);
    this.status = status;
    this.where = where;
  }
}

export function ask(path, { by = null, ...options } = {}) {
  const held = by ?? token();
  const headers = { ...options.headers, ...(held && { Authorization: `Bearer ${held}` }) };
  return fetch(path, { ...options, headers, cache: "no-store" });
}

// Return the JSON of a path and the range of the answer, if it has one: [start, end) in the stream's unit.
// Throws Refused with the service's message for any status but 200.
export async function answer(path) {
  const response = await ask(path);
  if (!response.ok) throw await refusal(response);
  const range = response.headers.get("Firnline-Range");
  return { body: parse(await response.text()), range: range && parse(range).map(big) };
}

// Return the rows of a path that answers CSV, each a list of texts; the first has the names. Throws as `answer` does.
export async function csv(path) {
  const response = await ask(path);
  if (!response.ok) throw await refusal(response);
  const text = await response.text();
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    if (end === "" && quoted == null && !plain && !rows.at(-1).length) break;
    rows.at(-1).push(quoted == null ? plain : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
    if (end === "") break;
  }
  return rows.filter(({ length }) => length);
}

// Send JSON by POST, with another token if one is given, and return the JSON of the answer. Throws as `answer` does.
export async function post(path, body, by = null) {
  const headers = { "Content-Type": "application/json" };
  const response = await ask(path, { method: "POST", headers, body: JSON.stringify(body), by });
  if (!response.ok) throw await refusal(response);
  return parse(await response.text());
}

// Return the JSON of a path. Throws as `answer` does.
export async function json(path) {
  return (await answer(path)).body;
}

export async function refusal(response) {
  if (response.status === 429) return new Refused(429, "the service has no free memory for this answer at the moment");
  try {
    const { where, expected, got } = (await response.json()).error;
    return new Refused(response.status, `${where}: expected ${expected}, got ${got}`, where);
  } catch {
    return new Refused(response.status, `the service answered ${response.status}`);
  }
}

// Return the same request as a curl command. It never contains the token itself.
export function curl(path) {
  const header = token() ? ' -H "Authorization: Bearer $FIRNLINE_TOKEN"' : "";
  return `curl -s '${location.origin}${path}'${header}`;
}
