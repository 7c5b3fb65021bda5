// Makes elements by script. Text is always inserted as text, never as markup, so a stream's content cannot become code.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// Make an HTML element: element("td", { class: "n" }, "12", other).
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

// Write text only if it differs, so that a selection in it stays. The page is drawn twice a second.
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// Write a line of text; parts in brackets are strong: sentence(p, "Holds ", ["12 sets"], " of them").
export function sentence(target, ...parts) {
  const key = JSON.stringify(parts);
  if (target.dataset.told === key) return;
  target.dataset.told = key;
  target.replaceChildren(...parts.map((part) => (Array.isArray(part) ? element("strong", {}, part[0]) : part)));
}

// Replace the content by a table. Columns are [title, "n" for numbers]. A cell is a text, a number, or the element of a
// time. The same table stays as it is.
export function table(target, caption, columns, rows, foot = null) {
  const texts = rows.map((row) => row.map((cell) => (cell instanceof Element ? cell.dataset.date : String(cell))));
  const key = JSON.stringify([caption, columns, texts, foot]);
  if (target.dataset.table === key) return;
  target.dataset.table = key;
  const head = columns.map(([title, kind]) => element("th", { scope: "col", class: kind }, title));
  const body = rows.map((row) =>
    element("tr", {}, ...row.map((cell, at) => element("td", { class: columns[at][1] }, cell))),
  );
  const made = element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
  if (foot) made.append(element("tfoot", {}, element("tr", {}, element("td", { colspan: columns.length }, foot))));
  target.replaceChildren(made);
}

// Make a horizontal bar that is filled to `share`, from 0 to 1.
export function gauge(share, kind = "") {
  const fill = element("span", { class: `fill ${kind}` });
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return element("span", { class: "gauge", "aria-hidden": "true" }, fill);
}
