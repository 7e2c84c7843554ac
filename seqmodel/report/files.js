// ---- what the folder has besides runs: predictions, logos, tracks
function predictionsCard() {
  const found = family().predictions;
  if (!found) return null;
  const run = data.runs[found.run];
  const note = `${found.file}, ${found.n ?? ""} items, of the best run: ${nameOf(run)}.`;
  if (found.problem) return card("predictions", "Predictions on the test split", found.problem, null);
  const blocks = el("div", { class: "plots" });
  if (found.histogram) blocks.append(el("div", { class: "plot" }, el("h3", {}, "Probability of the true class or label"), chart(() => histogramPlot(found.histogram), "probability of the truth")));
  for (const [name, points] of Object.entries(found.scatter)) blocks.append(el("div", { class: "plot" }, el("h3", {}, `Predicted and measured: ${name}`), chart(() => scatterPlot(run.id, points), `scatter of ${name}`)));
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...found.columns.map((c, i) => el("th", { class: typeof (found.worst[0] || [])[i] === "number" ? "num" : "" }, c)))),
    el("tbody", {}, ...found.worst.map((row) => el("tr", {}, ...row.map((v) => el("td", { class: typeof v === "number" ? "num" : "" }, number(v)))))));
  blocks.append(el("div", { class: "plot" }, el("h3", {}, found.worst.length ? `The ${found.worst.length} worst predictions` : "No item is predicted wrongly."), found.worst.length ? el("div", { class: "scroll" }, table) : null));
  return card("predictions", "Predictions on the test split", note, null, blocks);
}
function histogramPlot({ edges, right, wrong }) {
  const width = edges[1] - edges[0], x = edges.slice(0, -1).map((e) => e + width / 2);
  const bars = (y, name, paint) => ({ type: "bar", x, y, name, marker: { color: colour(paint) }, hovertemplate: `%{y} ${name}<extra></extra>` });
  return { traces: [bars(right, "correct", "accent"), bars(wrong, "wrong", "timeout")], extra: { barmode: "stack", bargap: 0.04, showlegend: true, legend: { orientation: "h", y: 1.15 }, xaxis: { title: { text: "predicted probability of the truth" }, range: [0, 1] }, yaxis: { title: { text: "items" }, rangemode: "tozero", ...whole([0, ...right.map((n, i) => n + wrong[i])]) } } };
}
const pictures = []; // images of SVG files: drawn in the colour of the text
function picture(svg, label) {
  const image = el("img", { alt: label, loading: "lazy" });
  // an image runs no script and loads nothing, whatever the file holds
  const draw = () => { image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg.replace('style="', `style="color:${colour("ink")};`))}`; };
  pictures.push(draw);
  draw();
  return image;
}
function logosCard() {
  if (!data.logos.length) return null;
  const children = data.logos.map(({ name, method, targets, n, sequences, problem }) => {
    const drawn = sequences.length ? "the first are shown." : "seqmodel attribute --plot=3 draws logos.";
    const about = problem || `Method ${method}, ${targets.length === 1 ? "target" : "targets"} ${targets.join(", ")}, ${n} sequences; ${drawn}`;
    return el("div", { class: "attribution" }, el("h3", {}, name), el("p", { class: "note" }, about),
      ...sequences.map(({ label, svg }) => el("figure", {}, el("figcaption", {}, label), el("div", { class: "scroll" }, picture(svg, `logo of ${label}`)))));
  });
  return card("logos", "Logos", "Contributions of the bases to a prediction, from seqmodel attribute. Squares: red raises the score, blue lowers it.", null, ...children);
}
function tracksCard() {
  if (!data.tracks.length) return null;
  const blocks = el("div", { class: "tracks" });
  for (const { name, problem, windows } of data.tracks) {
    blocks.append(el("h3", {}, name));
    if (problem) blocks.append(el("p", { class: "note" }, problem));
    else blocks.append(el("div", { class: "plots" }, ...windows.map((w) => el("div", { class: "plot" }, el("p", { class: "note" }, `${w.contig}:${w.start + 1}-${w.end}${w.step > 1 ? `, mean of ${w.step} bp` : ""}`), chart(() => trackPlot(w), `${name}, ${w.contig}`, "low")))));
  }
  return card("tracks", "Tracks", "bigWig files in this folder: all of the first contig with values, and the region with the largest one.", null, blocks);
}
function trackPlot({ start, step, values }) {
  const x = values.map((_, i) => start + i * step + 1);
  return { traces: [{ x, y: values, mode: "lines", line: { color: colour("accent"), width: 1.2, shape: "hv" }, fill: "tozeroy", hovertemplate: "%{x}: %{y:.4g}<extra></extra>" }], extra: { xaxis: { tickformat: ",d", nticks: 5 }, margin: { l: 52, r: 14, t: 6, b: 28 } } };
}
