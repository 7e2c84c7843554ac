// ---- the best runs on test
const testShown = { target: null };
function testCard() {
  const best = family().best;
  if (!best.length) return null;
  const blocks = el("div", { class: "plots" });
  const first = best[0].curves;
  const targets = Object.keys(first.roc || first.reliability || {});
  if (!targets.includes(testShown.target)) testShown.target = targets[0];
  const controls = targets.length > 1 ? el("div", { class: "controls" }, first.kind === "class" ? "class" : "label", choose("target", targets.map((t) => [t, t]), testShown.target, (v) => { testShown.target = v; redraw(); })) : null;
  if (first.confusion) best.forEach(({ label, curves }) => curves.confusion && blocks.append(el("div", { class: "plot" }, el("h3", {}, `Confusion matrix: ${label}`), confusion(curves))));
  for (const [key, title] of [["roc", "ROC curve, with its area (AUROC)"], ["pr", "Precision and recall, with the average precision (AP)"], ["reliability", "Reliability: on the diagonal, predicted probabilities equal observed frequencies"]]) {
    if (!first[key]) continue;
    const legend = el("div", { class: "legend" });
    blocks.append(el("div", { class: "plot" }, el("h3", {}, title), chart(() => linesPlot(best, key, legend), title), legend));
  }
  if (first.scatter) for (const name of Object.keys(first.scatter).slice(0, 6)) blocks.append(el("div", { class: "plot" }, el("h3", {}, `Predicted and measured: ${name}`), chart(() => scatterPlot(best[0].run, first.scatter[name]), `scatter of ${name}`)));
  const which = best.length > 1 ? `The ${best.length} best runs` : "The best run";
  return card("test", "Best runs on the test split", `${which} by ${family().monitor}, each with its best checkpoint on the validation split.`, controls, blocks);
}
function confusion({ names, confusion: counts }) {
  const table = el("table", { class: "matrix" }, el("thead", {}, el("tr", {}, el("th", {}, "true \\ predicted"), ...names.map((n) => el("th", {}, n)))));
  const rows = el("tbody", {});
  counts.forEach((line, i) => {
    const total = line.reduce((a, b) => a + b, 0) || 1;
    rows.append(el("tr", {}, el("th", {}, names[i]), ...line.map((n, j) => {
      const cell = el("td", { title: `${number((100 * n) / total, 3)} % of ${names[i]}` }, String(n));
      cell.style.background = `color-mix(in srgb, var(${i === j ? "--complete" : "--error"}) ${Math.round((60 * n) / total)}%, transparent)`;
      return cell;
    })));
  });
  table.append(rows);
  return el("div", { class: "scroll" }, table);
}
const AXES = { roc: ["fpr", "tpr", "AUROC"], pr: ["recall", "precision", "AP"], reliability: ["predicted", "observed", ""] };
function linesPlot(best, key, legend) {
  const [x, y, area] = AXES[key], traces = [], seen = [];
  legend.replaceChildren();
  best.forEach(({ run, label, curves }) => {
    const points = (curves[key] || {})[testShown.target];
    if (!points) return;
    const paint = paintOf(run) || colour("created"), dash = seen.includes(paint); // a replicate of one that is drawn
    seen.push(paint);
    legend.append(legendItem(run, label, paint, dash, area && `${area} ${points.area.toFixed(4)}`));
    traces.push({ x: points[x], y: points[y], mode: points.n ? "lines+markers" : "lines", text: points[x].map((_, k) => (points.n ? `<br>${points.n[k]} items` : "")), line: { color: paint, width: 2, dash: dash ? "dot" : "solid" }, customdata: points[x].map(() => run), hovertemplate: `${plain(testShown.target)}<br>${plain(label)}<br>%{x:.3f}, %{y:.3f}%{text}<extra></extra>` });
  });
  const says = { fpr: "false positive rate", tpr: "true positive rate", predicted: "mean probability", observed: "share of positives" };
  if (key !== "pr") traces.push({ x: [0, 1], y: [0, 1], mode: "lines", line: { color: colour("line"), dash: "dash" }, hoverinfo: "skip" });
  return { traces: traces.reverse() /* the best on top */, extra: { xaxis: { title: { text: says[x] || x }, range: [-0.02, 1.02] }, yaxis: { title: { text: says[y] || y }, range: [-0.02, 1.02] } } };
}
function scatterPlot(run, { target, predicted }) {
  const all = [...target, ...predicted], ends = [Math.min(...all), Math.max(...all)];
  return { traces: [{ x: ends, y: ends, mode: "lines", line: { color: colour("line"), dash: "dash" }, hoverinfo: "skip" }, { x: target, y: predicted, mode: "markers", customdata: target.map(() => run), marker: { size: 4, color: paintOf(run) || colour("accent"), opacity: 0.5 }, hovertemplate: "measured %{x:.4g}, predicted %{y:.4g}<extra></extra>" }],
    extra: { xaxis: { title: { text: "measured" } }, yaxis: { title: { text: "predicted" } } } };
}
