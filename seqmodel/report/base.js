// Runs are shown as text nodes only. Plotly reads a subset of HTML in its labels, so text for it
// goes through plain(). All scripts of this folder are one function: see page.py.
const data = JSON.parse(document.getElementById("content").textContent);
const page = document.getElementById("page");
const STATES = Object.keys(data.states);
const PALETTE = ["#3b7dd8", "#e07b39", "#2f9e73", "#b65fc9", "#c9a227", "#d1495b", "#4aa8c0", "#8a6d3b", "#7a6ff0", "#7d9f35"];
const shown = { family: 0, states: new Set(), text: "", sort: null, down: false, limit: 200, grouped: false };
const charts = []; // functions that draw, each with its element

// ---- small helpers
function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
function number(value, digits = 4) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const text = value.toPrecision(digits);
  return text.includes("e") ? Number(text).toExponential().replace("e+", "e") : String(Number(text));
}
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${number(seconds, 3)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")}`;
}
const gigabytes = (bytes) => (bytes ? `${number(bytes / 2 ** 30, 3)} GB` : "");
function cellText(key, value) {
  if (value === null || value === undefined) return "";
  if (key === "elapsed_s" || key === "staging_s") return duration(value);
  if (key === "peak_memory_gb") return `${number(value, 3)} GB`;
  return Array.isArray(value) ? value.join(" ") : number(value);
}
const nameOf = (run) => run.label;
const stateTag = (state) => el("span", { class: `state ${state}` }, state);
const family = () => data.families[shown.family];
const inFamily = () => data.runs.filter((run) => run.family === shown.family);
const scored = () => family().ranked.map(({ runs }) => data.runs[runs[0]]); // the best first, without runs that diverged
const series = () => family()[curveShown.by]; // groups of replicates, or single runs; the best first
function paintOf(id) { // the colour of a run everywhere: that of its learning curve
  const i = series().findIndex(({ runs }) => runs.includes(id));
  return i >= 0 && i < PALETTE.length ? PALETTE[i] : null;
}
function legendItem(id, label, paint, dash, value) {
  const swatch = el("i", { class: dash ? "dotted" : "" });
  swatch.style.color = paint;
  return el("button", { type: "button", onclick: () => openRun(id) }, swatch, el("span", {}, label), value ? el("b", {}, value) : null);
}

// ---- charts: drawn when they come near the window, and again when colours or sizes change
function layout(extra) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true, exponentformat: "e" };
  const { xaxis, yaxis, ...rest } = extra || {};
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 52, r: 14, t: 10, b: 44 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("line"), activecolor: colour("accent") },
    font: { color: colour("soft"), size: 12, family: "system-ui, sans-serif" }, hovermode: "closest", showlegend: false,
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink"), size: 12 }, align: "left" },
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  };
}
const ticksOf = (lo, hi) => (hi - lo <= 12 ? { tick0: 0, dtick: 1 } : hi - lo <= 24 ? { tick0: 0, dtick: 2 } : hi - lo <= 60 ? { tick0: 0, dtick: 5 } : {});
function whole(values) { // ticks of an axis of whole numbers are whole
  const there = values.filter((v) => v !== null && v !== undefined);
  if (!there.length || !there.every(Number.isInteger)) return {};
  return ticksOf(Math.min(...there), Math.max(...there));
}
const SETTINGS = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "resetScale2d"]] };
function chart(make, label, height = "") {
  const node = el("div", { class: `chart ${height}`, role: "img", "aria-label": label });
  const item = { node, seen: false, draw() {
    const { traces, extra } = make();
    Plotly.react(node, traces, layout(extra), SETTINGS).then(() => {
      if (node.dataset.bound) return;
      node.dataset.bound = "1";
      node.on("plotly_click", (event) => {
        const id = event.points[0].customdata;
        if (Number.isInteger(id)) openRun(id);
      });
    });
  } };
  charts.push(item);
  if (window.Plotly) watcher.observe(node);
  return node;
}
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const item = charts.find((c) => c.node === entry.target);
    if (entry.isIntersecting && item && !item.seen) { item.seen = true; item.draw(); }
  }
}, { rootMargin: "250px" });
function redraw() { for (const draw of pictures) draw(); for (const item of charts) if (item.seen && item.node.isConnected) item.draw(); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
