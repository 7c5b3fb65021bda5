// Elements made by script: text is always text, never markup, so nothing that a stream holds can become code.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// An HTML element: element("td", { class: "n" }, "12", other).
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  set(made, attributes);
  made.append(...children);
  return made;
}

export function set(target, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    const text = String(value);
    if (target.getAttribute(key) !== text) target.setAttribute(key, text);
  }
}

// Text that changes twice a second is written only when it differs: a selection in it stays.
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// A line of text with some of it strong: told(p, "Holds ", ["12 sets"], " of them").
export function told(target, ...parts) {
  const key = JSON.stringify(parts);
  if (target.dataset.told === key) return;
  target.dataset.told = key;
  target.replaceChildren(...parts.map((part) => (Array.isArray(part) ? element("strong", {}, part[0]) : part)));
}

// A table in place of what was there; columns are [title, "n" for numbers]. Unchanged rows are left alone.
export function table(target, caption, columns, rows, foot = null) {
  const key = JSON.stringify([caption, columns, rows, foot]);
  if (target.dataset.table === key) return;
  target.dataset.table = key;
  const head = columns.map(([title, kind]) => element("th", { scope: "col", class: kind }, title));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, at) => element("td", { class: columns[at][1] }, String(cell)))));
  const made = element("table", {}, element("caption", {}, caption), element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
  if (foot) made.append(element("tfoot", {}, element("tr", {}, element("td", { colspan: columns.length }, foot))));
  target.replaceChildren(made);
}

// A horizontal bar that says how full something is.
export function gauge(share, kind = "") {
  const fill = element("span", { class: `fill ${kind}` });
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return element("span", { class: "gauge", "aria-hidden": "true" }, fill);
}
