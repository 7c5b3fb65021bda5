// Shows both counts and reads them every second. If the service is away, the page tries again.
const SHOWN = 100;
const number = new Intl.NumberFormat("en");

async function counts(path) {
  const last = document.querySelector("input[name=last]:checked").value;
  const query = new URLSearchParams({ limit: SHOWN, ...(last && { last }) });
  const response = await fetch(`${path}?${query}`);
  if (!response.ok) throw new Error((await response.json()).error.got);
  return Object.entries(await response.json()).sort((one, other) => other[1] - one[1]);
}

function fill(table, rows) {
  const most = Math.max(1, ...rows.map(([, count]) => count));
  const made = rows.map(([name, count]) => {
    const row = document.createElement("tr");
    for (const text of [name, number.format(count)]) row.insertCell().textContent = text;
    row.cells[0].style.setProperty("--share", `${(100 * count) / most}%`);
    return row;
  });
  if (!made.length) {
    const row = document.createElement("tr");
    row.insertCell().textContent = "no count yet";
    row.insertCell();
    made.push(row);
  }
  table.tBodies[0].replaceChildren(...made);
}

async function refresh() {
  const state = document.getElementById("state");
  try {
    const [types, words] = await Promise.all([counts("../events/CountByEventType"), counts("../events/CountWords")]);
    fill(document.getElementById("types"), types);
    fill(document.getElementById("words"), words);
    const shown = words.length === SHOWN ? `, the ${SHOWN} most frequent words` : "";
    state.textContent = `as of ${new Date().toLocaleTimeString()}${shown}`;
    state.classList.remove("lost");
  } catch (error) {
    state.textContent = `the service does not answer (${error.message}); trying again`;
    state.classList.add("lost");
  }
}

async function run() {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((resume) => setTimeout(resume, 1000));
  }
}

for (const input of document.querySelectorAll("input[name=last]")) input.addEventListener("change", refresh);
run();
