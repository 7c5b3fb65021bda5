// A form that sends one request of the page /docs, and shows the answer as it came.

import { ask, curl, json } from "../lib/access.js";

const MOST = 20_000; // characters of an answer that are shown

// Return the form of an operation, made of the parameters that its article lists.
export function tried(article, make) {
  const { method, path, body, stream } = article.dataset;
  const form = make("form", { className: "tried", noValidate: true });
  const own = article.querySelector("h3").id;
  const fields = [...article.querySelectorAll("dt[data-name]")].map(({ dataset }) => {
    const id = `${own}--${dataset.name}`;
    const input = dataset.choices
      ? make("select", { id })
      : make("input", { id, autocomplete: "off", spellcheck: false });
    for (const word of dataset.choices?.split(" ") ?? []) input.append(make("option", { value: word }, word));
    if (dataset.choices && !dataset.required) input.prepend(make("option", { value: "", selected: true }, ""));
    else if (!dataset.choices) input.value = dataset.required ? (dataset.example ?? "") : "";
    if (!dataset.choices && dataset.example) input.placeholder = dataset.example;
    form.append(make("label", { htmlFor: id }, dataset.name + (dataset.required ? ", required" : "")), input);
    return { name: dataset.name, place: dataset.in, input };
  });
  const text = body == null ? null : make("textarea", { id: `${own}--body`, value: body, rows: 4, spellcheck: false });
  if (text) form.append(make("label", { htmlFor: text.id }, "body"), text);
  const status = make("p", { className: "quiet" });
  status.setAttribute("role", "status");
  const out = make("pre", { tabIndex: 0, hidden: true });
  out.setAttribute("role", "region");
  out.setAttribute("aria-label", `The answer of ${method} ${path}`);
  form.append(make("button", { type: "submit" }, method === "GET" ? "Send" : `Send this ${method}`), status, out);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const target = targetOf(path, fields);
    const headers = Object.fromEntries(
      fields
        .filter(({ place, input }) => place === "header" && input.value)
        .map(({ name, input }) => [name, input.value]),
    );
    const began = performance.now();
    status.textContent = `${method} ${target} …`;
    try {
      const options = text
        ? { method, body: text.value, headers: { ...headers, "Content-Type": "application/json" } }
        : { method, headers };
      const response = await ask(target, options);
      const answer = await shown(response);
      const command = method === "GET" ? curl(target) : `${method} ${target}`;
      status.textContent = `${response.status} in ${Math.round(performance.now() - began)} ms: ${command}`;
      out.textContent = answer;
    } catch (error) {
      status.textContent = `no answer: ${error.message}`;
      out.textContent = "";
    }
    out.hidden = !out.textContent;
  });
  if (stream && method === "GET") range(stream, fields);
  return form;
}

function targetOf(path, fields) {
  let found = path;
  const query = new URLSearchParams();
  for (const { name, place, input } of fields) {
    if (place === "path") found = found.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (place === "query" && input.value) query.set(name, input.value);
  }
  return query.size ? `${found}?${query}` : found;
}

// Fill in the range that the stream holds, so that the first answer has something.
async function range(stream, fields) {
  const bounds = ["startTime", "endTime"].map((name) => fields.find((field) => field.name === name)?.input);
  if (!bounds[0] || !bounds[1]) return;
  try {
    const { span } = await json(`/streams/${stream}`);
    if (!span) return;
    const given = bounds.map(({ value }) => value);
    bounds.forEach((input, place) => {
      if (input.value === given[place]) input.value = String(span[place]);
    });
    const limit = fields.find(({ name }) => name === "limit")?.input;
    if (limit && !limit.value) limit.value = "10";
  } catch {
    // without a token, say, the examples of the description stay
  }
}

async function shown(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (type.includes("arrow")) return `${(await response.arrayBuffer()).byteLength} bytes of Arrow`;
  const text = await response.text();
  const readable = type.startsWith("application/json") && text.length <= MOST ? indented(text) : text;
  return readable.length > MOST ? `${readable.slice(0, MOST)}\n… ${readable.length - MOST} characters more` : readable;
}

// Return JSON with a line for each member. Numbers stay as they came: a time in nanoseconds is larger than a number of
// JavaScript.
function indented(text) {
  let depth = 0;
  return text.replace(/"(?:[^"\\]|\\.)*"|[[\]{}]|,|:|[^"[\]{},:\s]+|\s+/g, (part, at) => {
    if (/^\s+$/.test(part)) return "";
    if (part === "{" || part === "[") {
      if (/^[\]}]/.test(text.slice(at + 1).trimStart())) return part;
      depth += 1;
      return `${part}\n${"  ".repeat(depth)}`;
    }
    if (part === "}" || part === "]") {
      if (/[[{]\s*$/.test(text.slice(0, at))) return part;
      depth -= 1;
      return `\n${"  ".repeat(depth)}${part}`;
    }
    return part === "," ? `,\n${"  ".repeat(depth)}` : part === ":" ? ": " : part;
  });
}
