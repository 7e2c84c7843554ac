// ---- all together
function rebuild() {
  watcher.disconnect();
  charts.length = pictures.length = 0;
  if (!data.runs.length) {
    page.replaceChildren(header(), el("section", { class: "card empty" }, "There is no run in this folder yet."));
    return;
  }
  const wrong = problems(), results = [tableCard(), curvesCard(), hyperparameters(), testCard(), predictionsCard(), logosCard(), tracksCard()];
  const cards = [...(narrow.matches ? [...results, wrong] : [wrong, ...results]), resources()].filter(Boolean);
  const nav = el("nav", {}, ...cards.map((c) => el("a", { href: `#${c.id}` }, c.querySelector("h2").textContent)));
  page.replaceChildren(header(), nav, tiles(), familyChoice() || "", ...cards);
  fillHead();
  fillTable();
}
// plotly takes the longest to start: the tables are shown before it does
function startPlotly() {
  const script = document.createElement("script");
  script.textContent = document.getElementById("plotly").textContent;
  document.head.append(script);
  for (const item of charts) watcher.observe(item.node);
  document.documentElement.dataset.ready = "charts";
}
const narrow = matchMedia("(max-width: 640px)"); // there, results come before failures
narrow.addEventListener("change", rebuild);
rebuild();
const asked = /^#run-(\d+)$/.exec(location.hash);
if (asked && data.runs[Number(asked[1])]) openRun(Number(asked[1]));
document.documentElement.dataset.ready = "tables";
requestAnimationFrame(() => setTimeout(startPlotly, 0));
