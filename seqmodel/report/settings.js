// ---- hyperparameters: parallel coordinates, effects, importance
function scale(values) { // positions in [0, 1] of numbers (on a log scale if they span decades) or of words
  const there = values.filter((v) => v !== null && v !== undefined);
  if (there.length && there.every((v) => typeof v === "number")) {
    const [lo, hi] = [Math.min(...there), Math.max(...there)];
    const log = lo > 0 && hi / lo >= 30, f = log ? Math.log10 : (v) => v;
    const span = f(hi) - f(lo) || 1;
    const integers = there.every(Number.isInteger), different = [...new Set(there)].sort((a, b) => a - b);
    const middle = log ? 10 ** ((f(lo) + f(hi)) / 2) : (lo + hi) / 2;
    const ticks = integers && different.length <= 6 ? different : [lo, integers ? Math.round(middle) : middle, hi];
    return { at: (v) => (f(v) - f(lo)) / span, log, integers, kind: "number", ticks };
  }
  const words = [...new Set(there.map(String))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  return { at: (v) => (words.length < 2 ? 0.5 : words.indexOf(String(v)) / (words.length - 1)), kind: "words", words, ticks: words.length > 8 ? [] : words };
}
function valuesOf(runs, name) { // an unset value is one of the words, and is missing among numbers
  const values = runs.map((run) => run.cells[name] ?? null);
  return values.some((v) => v !== null && typeof v !== "number") ? values.map((v) => v ?? "not set") : values;
}
function parallelPlot() {
  const runs = scored(), names = [...family().varying.slice(0, 9)];
  const values = names.map((n) => new Map(valuesOf(runs, n).map((v, i) => [runs[i], v])));
  const scales = values.map((v) => scale([...v.values()]));
  const last = scale(runs.map((r) => r.best));
  const points = (run) => names.map((_, k) => (values[k].get(run) === null ? null : scales[k].at(values[k].get(run)))).concat(last.at(run.best));
  const label = (run) => plain(`${number(run.best)} ${nameOf(run)}`);
  const drawn = runs.filter((run) => paintOf(run.id)), rest = runs.filter((run) => !paintOf(run.id));
  const common = { mode: runs.length > 150 ? "lines" : "lines+markers", hovertemplate: "%{text}<extra></extra>" };
  const traces = drawn.map((run, i) => { // the best in the colours of their learning curves, the very best the thickest
    const y = points(run), width = i === 0 ? 4.5 : 2.6 - (1.2 * i) / drawn.length;
    return { ...common, x: y.map((_, k) => k), y, customdata: y.map(() => run.id), text: label(run), marker: { size: 6 }, line: { color: paintOf(run.id), width }, opacity: 0.95 };
  });
  const N_SHADES = 6; // of the others, which are grey: the better, the stronger
  const shades = Array.from({ length: N_SHADES }, () => ({ x: [], y: [], customdata: [], text: [] }));
  rest.forEach((run, i) => {
    const shade = shades[Math.floor((i * N_SHADES) / rest.length)], y = points(run), text = label(run);
    shade.x.push(...y.map((_, k) => k), null); shade.y.push(...y, null);
    shade.customdata.push(...y.map(() => run.id), null); shade.text.push(...y.map(() => text), "");
  });
  shades.forEach((shade, i) => shade.x.length && traces.push({ ...common, ...shade, marker: { size: 4 }, line: { color: colour("created"), width: runs.length > 200 ? 0.7 : 1.2 }, opacity: 0.55 - (0.42 * i) / N_SHADES }));
  traces.reverse(); // the best on top
  const annotations = [...scales, last].flatMap((s, i) => s.ticks.map((t) => ({ x: i, y: s.at(t), text: plain(cut(number(t, 3), 14)), showarrow: false, xanchor: i === scales.length ? "left" : "right", xshift: i === scales.length ? 7 : -7, font: { size: 11, color: colour("soft") }, bgcolor: `${colour("card")}cc` })));
  const shapes = [...scales, last].map((_, i) => ({ type: "line", x0: i, x1: i, y0: 0, y1: 1, line: { color: colour("soft"), width: 1 }, layer: "below" }));
  const title = [...names, family().monitor];
  return { traces, extra: { annotations, shapes, margin: { l: 60, r: 60, t: 34, b: 10 }, xaxis: { side: "top", tickvals: title.map((_, i) => i), ticktext: title.map((t) => plain(cut(t, 18))), range: [-0.15, names.length + 0.15], showgrid: false, zeroline: false, fixedrange: true, tickfont: { color: colour("ink") } }, yaxis: { visible: false, range: [-0.06, 1.06], fixedrange: true } } };
}
// the end of a path says the most
const cut = (text, n) => (text.length <= n ? text : text.startsWith("/") ? `…${text.slice(1 - n)}` : `${text.slice(0, n - 1)}…`);
function effectPlot(name) {
  const all = valuesOf(scored(), name);
  const runs = scored().filter((_, i) => all[i] !== null), values = all.filter((v) => v !== null);
  const s = scale(values);
  const words = s.kind === "words";
  const x = values.map((v) => (words ? s.words.indexOf(String(v)) : v));
  const jitter = words ? runs.map((r, i) => x[i] + (((r.id * 7919) % 101) / 101 - 0.5) * 0.35) : x;
  const dots = { x: jitter, y: runs.map((r) => r.best), mode: "markers", customdata: runs.map((r) => r.id), marker: { size: runs.map((r) => (paintOf(r.id) ? 8 : 6)), color: runs.map((r) => paintOf(r.id) || colour("created")), opacity: runs.map((r) => (paintOf(r.id) ? 0.95 : runs.length > 200 ? 0.35 : 0.6)) }, text: runs.map((r) => plain(nameOf(r))), hovertemplate: "%{text}<br>%{y:.5g}<extra></extra>" };
  const traces = [dots];
  const middle = medians(x, runs.map((r) => r.best));
  if (middle.x.length > 1 || words) traces.push({ ...middle, mode: words ? "markers" : "lines", line: { color: colour("soft"), width: 2, dash: "dash" }, marker: { color: colour("soft"), size: 22, symbol: "line-ew-open", line: { width: 3, color: colour("soft") } }, hovertemplate: "median %{y:.5g}<extra></extra>" });
  const xaxis = words ? { tickvals: s.words.map((_, i) => i), ticktext: s.words.map((w) => plain(cut(w, 16))), range: [-0.6, s.words.length - 0.4] } : s.log ? { type: "log", tickvals: s.ticks, ticktext: s.ticks.map((t) => (s.integers ? String(t) : number(t, 2))) } : { type: "linear", ...(s.integers && s.ticks.length > 3 ? { tickvals: s.ticks } : { nticks: 6, ...whole(x) }) };
  return { traces, extra: { xaxis: { ...xaxis, title: { text: plain(name) } }, yaxis: { title: { text: plain(family().monitor) } } } };
}
function medians(x, y) { // at each value; many values are binned into up to eight groups of equal size
  const order = x.map((_, i) => i).sort((a, b) => x[a] - x[b]);
  const different = [...new Set(x)].length;
  const groups = new Map();
  order.forEach((i, k) => { const key = different <= 8 ? x[i] : Math.floor((k * Math.min(8, x.length / 4)) / x.length); groups.set(key, [...(groups.get(key) || []), i]); });
  const median = (values) => { const v = [...values].sort((a, b) => a - b), n = v.length; return n % 2 ? v[(n - 1) / 2] : (v[n / 2 - 1] + v[n / 2]) / 2; };
  const found = { x: [], y: [] };
  for (const members of groups.values()) { found.x.push(median(members.map((i) => x[i]))); found.y.push(median(members.map((i) => y[i]))); }
  return found;
}
function hyperparameters() {
  const names = family().varying;
  if (!names.length || scored().length < 2) return null;
  const lost = inFamily().filter((r) => r.state === "diverged").length;
  const children = [el("div", { class: "plot" }, el("h3", {}, "Parallel coordinates: one line per run; the best runs have the strongest lines, in the colors of the learning curves"), el("div", { class: "scroll" }, chart(parallelPlot, "parallel coordinates", "tall wide")))];
  const effects = el("div", { class: "plots small" }, importanceBars(), ...names.slice(0, 12).map((n) => el("div", { class: "plot" }, el("h3", {}, n + linkedText(n)), chart(() => effectPlot(n), `effect of ${n}`))));
  return card("hyperparameters", "Hyperparameters", `Effect on the best ${family().monitor} (${family().mode === "min" ? "lower" : "higher"} is better). A dashed line is the median. Click a point to open the run.${lost ? ` ${lost} diverged ${lost === 1 ? "run is" : "runs are"} left out.` : ""}`, null, ...linkedNotes(), ...children, effects);
}
const linkedNotes = () => family().together.map((group) => el("p", { class: "linked" }, el("b", {}, `${listed(group)} vary together`), ": each value of one comes with one value of the other in all runs, so their effects cannot be separated."));
const listed = (names) => `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
function linkedText(name) {
  const group = family().together.find((names) => names.includes(name));
  return group ? ` (varies together with ${group.filter((n) => n !== name).join(", ")})` : "";
}
function importanceBars() {
  if (!family().importance.length) return null;
  const bars = el("div", { class: "bars" });
  for (const { name, share } of family().importance) {
    const bar = el("i", {});
    bar.style.width = `${100 * share}%`;
    bars.append(el("span", {}, (family().together.find((group) => group.includes(name)) || [name]).join(" + ")), el("span", { class: "bar" }, bar), el("span", {}, `${Math.round(100 * share)} %`));
  }
  return el("div", { class: "plot" }, el("h3", {}, "Importance"), bars, el("p", { class: "note", style: "margin-top:10px" }, "Share of the variance of the score that each hyperparameter explains by itself (ω² of a one-way analysis of variance). Interactions are not included."));
}
