// ---- resources
function resources() {
  const runs = data.runs.filter((r) => r.used.time || r.used.memory);
  if (!runs.length) return null;
  const plots = el("div", { class: "plots" });
  if (runs.some((r) => r.used.time)) plots.append(el("div", { class: "plot" }, el("h3", {}, "Time in minutes, used and requested"), chart(() => usedPlot("time", 60, "minutes"), "time")));
  if (runs.some((r) => r.used.memory)) plots.append(el("div", { class: "plot" }, el("h3", {}, "Peak of main memory in GB, used and requested"), chart(() => usedPlot("memory", 2 ** 30, "GB"), "memory")));
  const hours = runs.reduce((a, r) => a + (r.used.time || 0), 0) / 3600;
  return card("resources", "Resources", `All runs together took ${hours < 1 ? `${number(60 * hours, 3)} minutes` : `${number(hours, 3)} hours`}.`, null, plots);
}
function usedPlot(key, unit, label) {
  const runs = data.runs.filter((r) => r.used[key]).sort((a, b) => b.used[key] - a.used[key]);
  const x = runs.map((_, i) => i + 1), text = runs.map((r) => plain(nameOf(r))), customdata = runs.map((r) => r.id);
  const traces = [{ type: runs.length > 80 ? "scatter" : "bar", mode: "markers", x, y: runs.map((r) => r.used[key] / unit), text, customdata, textposition: "none", marker: { color: runs.map((r) => colour(r.state)), size: 4 }, hovertemplate: `%{text}<br>used %{y:.3g} ${label}<extra></extra>` }];
  if (runs.some((r) => r.asked[key])) traces.push({ x, y: runs.map((r) => (r.asked[key] ? r.asked[key] / unit : null)), mode: "lines", line: { color: colour("soft"), dash: "dash", shape: "hvh" }, hovertemplate: `requested %{y:.3g} ${label}<extra></extra>` });
  return { traces, extra: { xaxis: { title: { text: "runs in descending order" }, ...whole(x) }, yaxis: { title: { text: label }, rangemode: "tozero" }, bargap: 0.15 } };
}

// ---- one run
let dialog = null;
function openRun(id) {
  const run = data.runs[id];
  if (dialog) dialog.remove();
  const close = () => dialog.close();
  dialog = el("dialog", { id: "run", "aria-label": "run", onclose: () => { history.replaceState(null, "", location.pathname + location.search); dialog.remove(); dialog = null; }, onclick: (e) => e.target === dialog && close() });
  const top = el("div", { class: "top" }, el("div", {}, el("h2", {}, nameOf(run)), stateTag(run.state), ` ${run.reason || ""}`, el("p", { class: "path" }, run.folder)), el("button", { class: "plain", type: "button", onclick: close, "aria-label": "close" }, "✕"));
  dialog.append(top, el("div", { class: "body" }, ...runBody(run)));
  document.body.append(dialog);
  dialog.showModal();
  history.replaceState(null, "", `#run-${id}`);
}
function pairs(entries, varying = []) {
  const list = el("dl", { class: "pairs" });
  for (const [name, value] of entries) list.append(el("dt", { class: varying.includes(name) ? "varies" : "" }, name), el("dd", {}, value === null || value === undefined ? "–" : Array.isArray(value) ? value.join(" ") || "–" : String(value)));
  return list;
}
const usedOf = (used, asked) => (used && asked ? `${used} of ${asked} requested` : used || (asked && `${asked} requested`));
function runBody(run) {
  const f = data.families[run.family];
  const scores = Object.entries(run.cells).filter(([k, v]) => v !== null && (k === "best" || k === "last" || k.startsWith("test_")));
  const facts = [["attempts", run.attempts], ...Object.entries(run.about), ...scores.map(([k, v]) => [k === "best" || k === "last" ? `${k} ${f.monitor}` : k, number(v)]),
    ["time", usedOf(duration(run.used.time), duration(run.asked.time))],
    ["memory", usedOf(gigabytes(run.used.memory), gigabytes(run.asked.memory))]].filter(([, v]) => v !== "" && v !== null);
  const found = [];
  if (run.detail) found.push(el("pre", { class: "detail" }, run.detail));
  found.push(pairs(facts));
  const names = Object.keys(run.curves).filter((n) => n === "train_loss" || n === "valid_loss" || n === f.monitor);
  if (names.length) {
    const node = chart(() => ({ traces: names.map((n, i) => ({ x: run.curves[n][0], y: run.curves[n][1], mode: run.curves[n][0].length < 30 ? "lines+markers" : "lines", name: plain(n), line: { color: PALETTE[i] }, hovertemplate: `${plain(n)} %{y:.5g}<extra></extra>` })), extra: { showlegend: true, legend: { orientation: "h", y: 1.15 }, xaxis: { title: { text: "step" }, ...whole(names.flatMap((n) => run.curves[n][0])) } } }), "curves of this run");
    found.push(node);
  }
  if (run.audit) found.push(el("h3", {}, "Audit of the test split"), el("pre", {}, run.audit));
  found.push(el("h3", {}, "Log (the end of stderr)"), run.log ? logText(run) : el("p", { class: "note" }, "The log is empty or was not kept."));
  if (run.out) found.push(el("details", {}, el("summary", {}, "stdout"), el("pre", {}, run.out)));
  const own = Object.entries(run.hparams), common = Object.entries(data.common);
  found.push(el("h3", {}, "Hyperparameters that differ between runs"), own.length ? pairs(own, data.varying) : el("p", { class: "note" }, "none"));
  found.push(el("details", {}, el("summary", {}, `${common.length} hyperparameters that are the same in all runs`), pairs(common)));
  return found;
}
function logText(run) {
  const at = run.detail ? run.log.lastIndexOf(run.detail) : -1;
  if (at < 0) return el("pre", { class: "log" }, run.log);
  return el("pre", { class: "log" }, run.log.slice(0, at), el("mark", {}, run.detail), run.log.slice(at + run.detail.length));
}
