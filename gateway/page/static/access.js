// Requests to the service, with this tab's token if it has one. sessionStorage keeps the token until the tab is closed.

const KEY = "firnline-token";

export const token = () => sessionStorage.getItem(KEY);
export const setToken = (text) => sessionStorage.setItem(KEY, text);
export const forgetToken = () => sessionStorage.removeItem(KEY);

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function ask(path, options = {}) {
  const held = token();
  const headers = { ...options.headers, ...(held && { Authorization: `Bearer ${held}` }) };
  return fetch(path, { ...options, headers, cache: "no-store" });
}

// Return the JSON of a path. Throws Refused with the service's message for any status but 200.
export async function json(path, options = {}) {
  const response = await ask(path, options);
  if (response.ok) return response.json();
  throw await refusal(response);
}

export async function refusal(response) {
  if (response.status === 429) return new Refused(429, "the service has no free memory for this answer at the moment");
  try {
    const { where, expected, got } = (await response.json()).error;
    return new Refused(response.status, `${where}: expected ${expected}, got ${got}`);
  } catch {
    return new Refused(response.status, `the service answered ${response.status}`);
  }
}

// Return the same request as a curl command. It never contains the token itself.
export function curl(path) {
  const header = token() ? ' -H "Authorization: Bearer $FIRNLINE_TOKEN"' : "";
  return `curl -s '${location.origin}${path}'${header}`;
}
