"use strict";
window.addEventListener("error", (event) => { document.body.dataset.error = event.message; });

const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)").matches;
const options = { responsive: true, displayModeBar: false };

// Figures name colours of the style sheet; plotly wants values.
function coloured(figure) {
  const style = getComputedStyle(document.documentElement);
  const text = JSON.stringify(figure).replace(
    /var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  return JSON.parse(text);
}

function draw() {
  return Promise.all(Object.entries(figures).map(([id, figure]) => {
    const { data, layout } = coloured(figure);
    // A finger that scrolls the page must not zoom the figure under it.
    if (touch) layout.dragmode = false;
    return Plotly.react(id, data, layout, options);
  }));
}

function toast(text) {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => box.classList.remove("shown"), 1800);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page served without https, or in a frame
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(`${what} copied`);
}

function sort(header) {
  const body = header.closest("table").tBodies[0];
  const column = header.cellIndex;
  const upwards = header.getAttribute("aria-sort") === "descending";
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", upwards ? "ascending" : "descending");
  const key = (row) => row.cells[column].dataset.value;
  // What was not measured stays at the end.
  const compare = (a, b) => {
    if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
    const order = key(a).localeCompare(key(b), undefined, { numeric: true });
    const difference = Number(key(a)) - Number(key(b));
    return (upwards ? 1 : -1) * (Number.isNaN(difference) ? order : difference);
  };
  body.append(...[...body.rows].sort(compare));
}

function toggle(chip) {
  const shown = chip.getAttribute("aria-pressed") !== "true";
  const run = Number(chip.dataset.run);
  for (const same of document.querySelectorAll(`[data-run="${run}"]`)) {
    same.setAttribute("aria-pressed", shown);
  }
  for (const [id, figure] of Object.entries(figures)) {
    if (!document.getElementById(id).closest("[data-compared]")) continue;
    for (const trace of figure.data) if (trace.meta === run) trace.visible = shown;
  }
  draw();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.copy) copy(button.dataset.copy, "Genotype");
  else if (button.dataset.run) toggle(button);
  else if (button.parentElement.tagName === "TH") sort(button.parentElement);
});

dark.addEventListener("change", draw);
draw().then(() => {
  for (const id of Object.keys(figures)) {
    document.getElementById(id).on("plotly_click", ({ points: [point] }) => {
      if (point.customdata) copy(point.customdata[1], `Genotype of trial ${point.customdata[0]}`);
    });
  }
  document.body.dataset.drawn = Object.keys(figures).length;
}).catch((error) => { document.body.dataset.error = String(error); });
