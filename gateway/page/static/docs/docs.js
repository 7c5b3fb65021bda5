// The page /docs beyond its text: a search over the operations, copy buttons, and forms that send a request.
// Without this script the page has everything but these.

import { forgetToken, setToken, token } from "../lib/access.js";
import { tried } from "./try.js";

const make = (name, members = {}, ...inside) => {
  const found = Object.assign(document.createElement(name), members);
  found.append(...inside);
  return found;
};

// ---- Search ----

const entries = [...document.querySelectorAll("main article")].map((article) => ({
  article,
  link: document.querySelector(`nav a[href="#${CSS.escape(article.querySelector("h3").id)}"]`)?.parentElement,
  text: article.textContent.toLowerCase(),
}));
const sections = [...document.querySelectorAll("main > section")];
const said = make("p", { className: "quiet" });
said.setAttribute("role", "status");
const field = make("input", { type: "search", id: "search", autocomplete: "off", spellcheck: false });
field.placeholder = "a path, a parameter, a word";

function search() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const { article, link, text } of entries) {
    const found = words.every((word) => text.includes(word));
    article.hidden = !found;
    if (link) link.hidden = !found;
    count += found;
  }
  for (const section of sections)
    section.hidden = ![...section.querySelectorAll("article")].some(({ hidden }) => !hidden);
  for (const group of document.querySelectorAll("nav > ul > li")) {
    const links = [...group.querySelectorAll("li")];
    group.hidden = links.length > 0 && links.every(({ hidden }) => hidden);
  }
  said.textContent = words.length ? `${count} of ${entries.length} found` : "";
}

field.addEventListener("input", search);
addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName);
  if (event.key === "/" && !typing) {
    event.preventDefault();
    field.focus();
  } else if (event.key === "Escape" && document.activeElement === field) {
    field.value = "";
    search();
  }
});

// A link to an operation that the search hides ends the search.
addEventListener("hashchange", () => {
  if (document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("[hidden]")) {
    field.value = "";
    search();
    document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
  }
});

// ---- The token of this tab, which the live page uses too ----

const secret = make("input", { type: "password", id: "token", autocomplete: "off", value: token() ?? "" });
secret.addEventListener("input", () => (secret.value ? setToken(secret.value) : forgetToken()));

document
  .querySelector("header")
  .append(
    make(
      "div",
      { className: "tools" },
      make("label", { htmlFor: "search" }, "Search (press /)"),
      field,
      make("label", { htmlFor: "token" }, "Token, kept until this tab is closed"),
      secret,
    ),
    said,
  );

// ---- Copy buttons ----

async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", { value: text }); // a page that is not from loopback or https has no clipboard
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

for (const box of document.querySelectorAll("main pre")) {
  const button = make("button", { type: "button", className: "copy" }, "Copy");
  button.setAttribute("aria-label", `Copy: ${box.getAttribute("aria-label")}`);
  button.addEventListener("click", async () => {
    await copied(box.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2_000);
  });
  box.before(button);
}

// ---- Try it ----

for (const article of document.querySelectorAll("main article[data-path]")) {
  const button = make("button", { type: "button", className: "try" }, "Try it");
  button.setAttribute("aria-label", `Try ${article.dataset.method} ${article.dataset.path}`);
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    const form = article.querySelector("form") ?? tried(article, make);
    if (!form.isConnected) button.after(form);
    else form.hidden = !form.hidden;
    button.setAttribute("aria-expanded", String(!form.hidden));
  });
  article.querySelector("pre").after(button);
}
