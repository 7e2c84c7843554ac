// ---- learning curves
const curveShown = { name: null, by: "groups", log: false };
function curveNames() {
  const names = new Set();
  for (const run of inFamily()) for (const name of Object.keys(run.curves)) if (!name.startsWith("test_")) names.add(name);
  return [...names].sort();
}
function curvesCard() {
  const names = curveNames();
  if (!names.length) return null;
  if (!names.includes(curveShown.name)) curveShown.name = names.includes(family().monitor) ? family().monitor : names[0];
  const options = names.map((n) => [n, n]);
  if (names.includes("train_loss") && names.includes("valid_loss")) options.unshift(["both", "train (dotted) and valid loss"]);
  const node = chart(curvesPlot, "learning curves", "tall");
  const again = () => charts.find((c) => c.node === node).draw();
  const controls = el("div", { class: "controls" },
    choose("logged value", options, curveShown.name, (v) => { curveShown.name = v; again(); }),
    choose("lines", [["groups", "mean of replicates, shaded"], ["ranked", "each run"]], curveShown.by, (v) => { curveShown.by = v; redraw(); }),
    check("log scale", curveShown.log, (v) => { curveShown.log = v; again(); }));
  const legend = el("div", { class: "legend" });
  curveShown.legend = legend;
  return card("curves", "Learning curves", "Over optimizer steps. The ten best have colors, which the other plots share; the others are grey. A band is one standard deviation over replicates.", controls, node, legend);
}
function curvesPlot() {
  const names = curveShown.name === "both" ? ["valid_loss", "train_loss"] : [curveShown.name];
  const groups = series().map(({ runs }) => runs.map((id) => data.runs[id]));
  const drawn = new Set(groups.flat());
  const others = inFamily().filter((run) => !drawn.has(run)); // diverged, or without a score
  curveShown.legend.replaceChildren(...series().slice(0, PALETTE.length).filter(({ runs }) => names.some((n) => runs.some((id) => data.runs[id].curves[n])))
    .map(({ runs, label }) => legendItem(runs[0], label + (runs.length > 1 ? ` (${runs.length} replicates)` : ""), paintOf(runs[0]))));
  const traces = [];
  names.forEach((name, k) => {
    groups.slice(0, PALETTE.length).forEach((runs, i) => {
      const having = runs.filter((run) => run.curves[name]);
      if (having.length) traces.push(...bold(having, name, PALETTE[i], k));
    });
    const grey = greyLines(groups.slice(PALETTE.length).flat().concat(others), name);
    if (grey.x.length) traces.unshift({ ...grey, mode: "lines", line: { color: colour("created"), width: 0.8, dash: k ? "dot" : "solid" }, opacity: 0.35, hovertemplate: "%{text}<extra></extra>" });
  });
  const steps = inFamily().flatMap((run) => (run.curves[names[0]] || [[]])[0]);
  return { traces, extra: { xaxis: { title: { text: "step" }, ...whole(steps) }, yaxis: { title: { text: plain(names.join(", ")) }, ...yRange(names), type: curveShown.log ? "log" : "linear" } } };
}
function greyLines(runs, name) {
  const found = { x: [], y: [], customdata: [], text: [] };
  for (const run of runs.filter((r) => r.curves[name])) {
    const [x, y] = run.curves[name], label = plain(nameOf(run));
    found.x.push(...x, null); found.y.push(...y, null);
    found.customdata.push(...x.map(() => run.id), null); found.text.push(...x.map(() => label), "");
  }
  return found;
}
function yRange(names) { // what diverged leaves the plot at the top, so that the others can be seen
  const values = (runs) => runs.flatMap((run) => names.flatMap((n) => (run.curves[n] || [[], []])[1]));
  const [lost, kept] = [values(inFamily().filter((r) => r.state === "diverged")), values(inFamily().filter((r) => r.state !== "diverged"))];
  if (!lost.length || !kept.length || curveShown.log) return {};
  const [lo, hi] = [Math.min(...kept), Math.max(...kept)], pad = 0.06 * (hi - lo || 1);
  return { range: [lo - pad, hi + pad] };
}
function bold(runs, name, paint, k) {
  const line = { color: paint, width: k ? 1.4 : 2, dash: k ? "dot" : "solid" };
  const text = plain(`${name}: ${nameOf(runs[0])}`);
  const template = `${text}<br>step %{x}: %{y:.5g}<extra></extra>`;
  const mark = runs.some((run) => run.curves[name][0].length === 1) ? "lines+markers" : "lines";
  if (runs.length === 1) {
    const [x, y] = runs[0].curves[name];
    return [{ x, y, mode: mark, line, hovertemplate: template, customdata: x.map(() => runs[0].id) }];
  }
  const { x, mean, low, high } = band(runs.map((run) => run.curves[name]));
  const shade = { x: [...x, ...[...x].reverse()], y: [...high, ...low.reverse()], fill: "toself", fillcolor: `${paint}30`, line: { width: 0 }, mode: "lines", hoverinfo: "skip" };
  return [shade, { x, y: mean, mode: mark, line, hovertemplate: template.replace("<extra>", `<br>mean of ${runs.length} replicates<extra>`), customdata: x.map(() => runs[0].id) }];
}
// at each step of any curve, over the curves that have reached it, interpolated linearly
function band(curves) {
  const x = [...new Set(curves.flatMap((c) => c[0]))].sort((a, b) => a - b);
  const mean = [], low = [], high = [];
  for (const at of x) {
    const values = curves.map((c) => valueAt(c, at)).filter((v) => v !== null);
    const m = values.reduce((a, b) => a + b, 0) / values.length;
    const sd = values.length > 1 ? Math.sqrt(values.reduce((a, b) => a + (b - m) ** 2, 0) / (values.length - 1)) : 0;
    mean.push(m); low.push(m - sd); high.push(m + sd);
  }
  return { x, mean, low, high };
}
function valueAt([xs, ys], at) {
  if (at < xs[0] || at > xs[xs.length - 1]) return null;
  let i = 0;
  while (xs[i] < at) i += 1;
  if (xs[i] === at) return ys[i];
  return ys[i - 1] + ((ys[i] - ys[i - 1]) * (at - xs[i - 1])) / (xs[i] - xs[i - 1]);
}
