// The report's own script. What a run holds gets into the page as text nodes only; plotly takes a
// subset of HTML in its labels, so texts for it go through plain().
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("content").textContent);
  const page = document.getElementById("page");
  const STATES = Object.keys(data.states);
  const PALETTE = ["#3b7dd8", "#e07b39", "#2f9e73", "#b65fc9", "#c9a227", "#d1495b", "#4aa8c0", "#8a6d3b", "#7a6ff0", "#6b7686"];
  const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
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
  const nameOf = (run) => {
    const names = [...data.families[run.family].varying, "seed"].filter((n) => data.varying.includes(n) && ![null, undefined, ""].includes(run.cells[n]));
    const text = names.map((n) => `${n}=${cellText(n, run.cells[n])}`).join(", ");
    return text || (data.families.length > 1 && data.families[run.family].task) || run.name;
  };
  const fullName = (run) => `${nameOf(run)} · version ${run.version}`;
  const stateTag = (state) => el("span", { class: `state ${state}` }, state);
  const family = () => data.families[shown.family];
  const better = (a, b) => (family().mode === "min" ? a - b : b - a);
  const inFamily = () => data.runs.filter((run) => run.family === shown.family);
  const scored = () => inFamily().filter((run) => run.best !== null).sort((a, b) => better(a.best, b.best));

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
  function redraw() { for (const item of charts) if (item.seen && item.node.isConnected) item.draw(); }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // ---- top of the page
  function header() {
    const theme = el("button", { class: "plain", type: "button", title: "light or dark", onclick: () => {
      const dark = getComputedStyle(document.body).backgroundColor.match(/\d+/)[0] < 100;
      document.documentElement.dataset.theme = dark ? "light" : "dark";
      redraw();
    } }, "◐ theme");
    const made = `${data.runs.length} runs · ${data.made} · seqmodel ${data.seqmodel}`;
    return el("header", {}, el("h1", {}, data.root), el("span", { class: "made" }, made), theme);
  }
  function tiles() {
    const found = el("div", { class: "tiles" });
    for (const state of STATES) {
      const button = el("button", { class: "tile", type: "button", "data-state": state, "aria-pressed": "false", onclick: () => {
        if (!shown.states.delete(state)) shown.states.add(state);
        for (const b of found.querySelectorAll("button")) b.setAttribute("aria-pressed", shown.states.has(b.dataset.state));
        fillTable();
      } }, el("b", {}, String(data.states[state])), stateTag(state));
      found.append(button);
    }
    data.families.forEach((f, i) => {
      const runs = data.runs.filter((r) => r.family === i && r.best !== null);
      if (!runs.length) return;
      const best = runs.reduce((a, b) => ((f.mode === "min" ? b.best < a.best : b.best > a.best) ? b : a));
      found.append(el("button", { class: "tile wide best", type: "button", onclick: () => openRun(best.id) },
        el("b", {}, number(best.best)), el("span", {}, `best ${f.monitor}${f.task ? `, ${f.task}` : ""}`), el("small", {}, nameOf(best))));
    });
    return found;
  }
  function card(id, title, note, controls, ...children) {
    const head = el("div", { class: "head" }, el("h2", {}, title), note ? el("p", { class: "note" }, note) : null, controls);
    return el("section", { class: "card", id }, head, ...children);
  }
  function choose(label, options, value, then) {
    const node = el("select", { "aria-label": label, onchange: () => then(node.value) });
    for (const [key, text] of options) node.append(el("option", { value: key }, text));
    node.value = value;
    return node;
  }
  function check(label, value, then) {
    const box = el("input", { type: "checkbox", onchange: () => then(box.checked) });
    box.checked = value;
    return el("label", { class: "check" }, box, label);
  }
  function familyChoice() {
    if (data.families.length < 2) return null;
    const options = data.families.map((f, i) => [String(i), `${f.task || "no record"} by ${f.monitor} (${f.n})`]);
    return el("div", { class: "controls" }, "task", choose("task", options, String(shown.family), (value) => {
      shown.family = Number(value);
      rebuild();
    }));
  }

  // ---- what went wrong
  function problems() {
    const wrong = data.runs.filter((run) => ["error", "timeout", "damaged"].includes(run.state));
    if (!wrong.length) return null;
    const list = el("div", {});
    const add = (runs) => { for (const run of runs) list.append(problem(run)); };
    add(wrong.slice(0, 12));
    const rest = wrong.slice(12);
    const more = rest.length ? el("button", { class: "plain", type: "button", onclick: () => { add(rest); more.remove(); } }, `show ${rest.length} more`) : null;
    return card("problems", "What went wrong", "Each with the line that shows it; a click opens the log.", null, list, more);
  }
  function problem(run) {
    return el("div", { class: `problem ${run.state}-line`, tabindex: "0", "data-run": run.id, onclick: () => openRun(run.id), onkeydown: (e) => e.key === "Enter" && openRun(run.id) },
      stateTag(run.state), el("span", { class: "who" }, `${run.reason ? `${run.reason}: ` : ""}${fullName(run)}`), run.detail ? el("code", {}, run.detail) : null);
  }

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
      choose("lines", [["groups", "mean of replicates, shaded"], ["runs", "each run"]], curveShown.by, (v) => { curveShown.by = v; again(); }),
      check("log scale", curveShown.log, (v) => { curveShown.log = v; again(); }));
    const legend = el("div", { class: "legend" });
    curveShown.legend = legend;
    return card("curves", "Learning curves", "Over optimiser steps; the ten best in colour, the others grey. Band: one standard deviation over replicates.", controls, node, legend);
  }
  function curvesPlot() {
    const names = curveShown.name === "both" ? ["valid_loss", "train_loss"] : [curveShown.name];
    const entries = curveShown.by === "groups" ? curveGroups() : inFamily().map((run) => [run]).sort(byBest);
    const traces = [];
    curveShown.legend.replaceChildren(...entries.slice(0, 10).filter((runs) => names.some((n) => runs.some((r) => r.curves[n]))).map((runs, i) => legendItem(runs, PALETTE[i])));
    names.forEach((name, k) => {
      const rest = { x: [], y: [], customdata: [] };
      entries.forEach((runs, i) => {
        const having = runs.filter((run) => run.curves[name]);
        if (!having.length) return;
        if (i < 10) traces.push(...bold(having, name, PALETTE[i], k));
        else for (const run of having) {
          rest.x.push(...run.curves[name][0], null);
          rest.y.push(...run.curves[name][1], null);
          rest.customdata.push(...run.curves[name][0].map(() => run.id), null);
        }
      });
      if (rest.x.length) traces.unshift({ ...rest, mode: "lines", line: { color: colour("created"), width: 0.8, dash: k ? "dot" : "solid" }, opacity: 0.35, hoverinfo: "none" });
    });
    return { traces, extra: { xaxis: { title: { text: "step" } }, yaxis: { title: { text: plain(names.join(", ")) }, type: curveShown.log ? "log" : "linear" } } };
  }
  function legendItem(runs, paint) {
    const swatch = el("i", {});
    swatch.style.background = paint;
    const seeds = runs.length > 1 ? ` (${runs.length} replicates)` : "";
    const label = runs.length > 1 ? nameOf(runs[0]).replace(/(, )?seed=\S+$/, "") || runs[0].name : nameOf(runs[0]);
    return el("button", { type: "button", title: label, onclick: () => openRun(runs[0].id) }, swatch, el("span", {}, label + seeds));
  }
  function byBest(a, b) {
    const best = (runs) => runs.map((r) => r.best).filter((v) => v !== null).sort(better)[0];
    const [x, y] = [best(a), best(b)];
    return x === undefined ? 1 : y === undefined ? -1 : better(x, y);
  }
  function curveGroups() {
    const found = new Map();
    for (const run of inFamily()) found.set(run.group, [...(found.get(run.group) || []), run]);
    return [...found.values()].sort(byBest);
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
  // at each step that any has, from those that have reached it, between its neighbours in a line
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

  // ---- the table
  let body, headRow, tableNote, pager;
  function tableCard() {
    const search = el("input", { type: "search", id: "filter", placeholder: "filter: text, or lr<0.01 state=error", "aria-label": "filter runs", oninput: () => { shown.text = search.value; shown.limit = 200; fillTable(); } });
    const views = [["runs", "one row a run"], ["groups", "mean over replicates"]];
    const controls = el("div", { class: "controls" }, search,
      data.groups.length < data.runs.length ? choose("rows", views, "runs", (v) => { shown.grouped = v === "groups"; shown.sort = null; fillHead(); fillTable(); }) : null,
      el("button", { class: "plain", type: "button", onclick: saveCsv }, "save as CSV"));
    headRow = el("tr", {});
    body = el("tbody", {});
    tableNote = el("span", { class: "note", id: "count" });
    pager = el("div", { class: "pager" });
    const table = el("table", { id: "runs" }, el("thead", {}, headRow), body);
    const found = card("table", "Runs", null, controls, el("div", { class: "scroll high" }, table), pager);
    found.querySelector(".head h2").after(tableNote);
    return found;
  }
  function columns() {
    if (!shown.grouped) return data.columns;
    const keys = data.groups.length ? Object.keys(data.groups[0]).filter((k) => k !== "run" && data.groups.some((g) => g[k] !== null)) : [];
    return keys.map((key) => ({ key, label: key === "elapsed_s_mean" ? "time" : key.replace(/_mean$/, " mean").replace(/_low$/, " low").replace(/_high$/, " high").replace(/_sd$/, " sd").replace(/_n$/, " n"), tip: "over runs that differ in their seed only" }));
  }
  const valueOf = (row, key) => (shown.grouped ? row[key] : key === "state" ? row.state : row.cells[key]);
  function isNumber(key) {
    const rows = shown.grouped ? data.groups : data.runs;
    return rows.every((row) => [null, undefined].includes(valueOf(row, key)) || typeof valueOf(row, key) === "number");
  }
  function fillHead() {
    headRow.replaceChildren(...columns().map((column) => el("th", { class: isNumber(column.key) ? "num" : "", title: column.tip, "data-key": column.key, "aria-sort": shown.sort === column.key ? (shown.down ? "descending" : "ascending") : "none" },
      el("button", { type: "button", onclick: () => {
        shown.down = shown.sort === column.key ? !shown.down : false;
        shown.sort = column.key;
        fillHead(); fillTable();
      } }, column.label))));
  }
  const TERM = /^([^<>=!\s]+)(<=|>=|!=|=|<|>)(.*)$/;
  function matches(row, words) {
    return words.every((word) => {
      const term = TERM.exec(word);
      if (term && columns().some((c) => c.key === term[1] || c.label === term[1])) {
        const key = columns().find((c) => c.key === term[1] || c.label === term[1]).key;
        const value = valueOf(row, key);
        if (value === null || value === undefined) return false;
        const numeric = typeof value === "number" && term[3] !== "" && !Number.isNaN(Number(term[3]));
        const [a, b] = numeric ? [value, Number(term[3])] : [String(value), term[3]];
        return { "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "=": a === b, "!=": a !== b }[term[2]];
      }
      return haystack(row).includes(word.toLowerCase());
    });
  }
  const haystacks = new WeakMap();
  function haystack(row) {
    if (!haystacks.has(row)) {
      const values = shown.grouped ? Object.values(row) : [row.name, row.folder, row.state, row.reason, row.detail, nameOf(row), ...Object.values(row.cells)];
      haystacks.set(row, values.join(" ").toLowerCase());
    }
    return haystacks.get(row);
  }
  function chosenRows() {
    const words = shown.text.trim().split(/\s+/).filter(Boolean);
    let rows = (shown.grouped ? data.groups : data.runs).filter((row) => matches(row, words));
    if (!shown.grouped && shown.states.size) rows = rows.filter((row) => shown.states.has(row.state));
    if (shown.sort !== null) {
      const key = shown.sort, sign = shown.down ? -1 : 1;
      rows = [...rows].sort((a, b) => {
        const [x, y] = [valueOf(a, key), valueOf(b, key)];
        const [noX, noY] = [x === null || x === undefined, y === null || y === undefined];
        if (noX || noY) return noX - noY; // without a value: last, either way
        return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true }));
      });
    }
    return rows;
  }
  function fillTable() {
    const rows = chosenRows(), all = shown.grouped ? data.groups.length : data.runs.length;
    const bests = new Set(data.families.map((f, i) => data.runs.filter((r) => r.family === i && r.best !== null).reduce((a, b) => (a === null || (f.mode === "min" ? b.best < a.best : b.best > a.best) ? b : a), null)).filter(Boolean));
    body.replaceChildren(...rows.slice(0, shown.limit).map((row) => tableRow(row, bests)));
    tableNote.textContent = rows.length === all ? `${all} ${shown.grouped ? "settings" : "runs"}` : `${rows.length} of ${all}`;
    pager.replaceChildren();
    if (rows.length > shown.limit) pager.append(`the first ${shown.limit} are shown`, el("button", { class: "plain", type: "button", onclick: () => { shown.limit = Infinity; fillTable(); } }, `show all ${rows.length}`));
  }
  function tableRow(row, bests) {
    const cells = columns().map(({ key }) => {
      if (key === "state" && !shown.grouped) return el("td", { title: row.reason }, stateTag(row.state));
      const value = valueOf(row, key), text = cellText(key.replace(/_mean$/, ""), value);
      const top = key === "best" && !shown.grouped && bests.has(row) ? " top1" : "";
      return el("td", { class: (typeof value === "number" ? "num" : "") + top, title: text.length > 24 ? text : null }, text);
    });
    if (shown.grouped) return el("tr", {}, ...cells);
    return el("tr", { class: "run", tabindex: "0", "data-run": row.id, onclick: () => openRun(row.id), onkeydown: (e) => e.key === "Enter" && openRun(row.id) }, ...cells);
  }
  function saveCsv() {
    const quote = (v) => (/[",\n\r]/.test(v) ? `"${v.replace(/"/g, '""')}"` : v);
    const keys = columns().map((c) => c.key).concat(shown.grouped ? [] : ["folder"]);
    const text = (row, key) => { const v = key === "folder" ? row.folder : valueOf(row, key); return v === null || v === undefined ? "" : String(v); };
    const lines = [keys, ...chosenRows().map((row) => keys.map((key) => text(row, key)))].map((line) => line.map(quote).join(","));
    const link = el("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })), download: "runs.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // ---- hyperparameters: parallel coordinates, effects, importance
  function scale(values) { // positions in [0, 1] of numbers (by logarithm when they span decades) or of words
    const there = values.filter((v) => v !== null && v !== undefined);
    if (there.length && there.every((v) => typeof v === "number")) {
      const [lo, hi] = [Math.min(...there), Math.max(...there)];
      const log = lo > 0 && hi / lo >= 30, f = log ? Math.log10 : (v) => v;
      const span = f(hi) - f(lo) || 1;
      return { at: (v) => (f(v) - f(lo)) / span, log, kind: "number", ticks: log ? [lo, 10 ** ((f(lo) + f(hi)) / 2), hi] : [lo, (lo + hi) / 2, hi] };
    }
    const words = [...new Set(there.map(String))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    return { at: (v) => (words.length < 2 ? 0.5 : words.indexOf(String(v)) / (words.length - 1)), kind: "words", words, ticks: words.length > 8 ? [] : words };
  }
  function valuesOf(runs, name) { // what is not set is a choice among words, and none among numbers
    const values = runs.map((run) => run.cells[name] ?? null);
    return values.some((v) => v !== null && typeof v !== "number") ? values.map((v) => v ?? "not set") : values;
  }
  function parallelPlot() {
    const runs = scored(), names = [...family().varying.slice(0, 9)];
    const values = names.map((n) => new Map(valuesOf(runs, n).map((v, i) => [runs[i], v])));
    const scales = values.map((v) => scale([...v.values()]));
    const last = scale(runs.map((r) => r.best));
    const bins = Array.from({ length: VIRIDIS.length }, () => ({ x: [], y: [], customdata: [] }));
    for (const run of [...runs].reverse()) {
      const at = last.at(run.best);
      const good = family().mode === "min" ? 1 - at : at;
      const bin = bins[Math.min(VIRIDIS.length - 1, Math.floor(good * VIRIDIS.length))];
      names.forEach((n, i) => {
        const value = values[i].get(run);
        bin.x.push(i); bin.y.push(value === null ? null : scales[i].at(value)); bin.customdata.push(run.id);
      });
      bin.x.push(names.length, null); bin.y.push(at, null); bin.customdata.push(run.id, null);
    }
    const width = runs.length > 200 ? 0.7 : 1.6;
    const traces = bins.map((bin, i) => ({ ...bin, mode: runs.length > 150 ? "lines" : "lines+markers", marker: { size: 5 }, line: { color: VIRIDIS[i], width: i === VIRIDIS.length - 1 ? width + 1 : width }, opacity: runs.length > 200 ? 0.6 : 0.85,
      text: bin.customdata.map((id) => (id === null ? "" : plain(`${data.runs[id].cells.best} ${nameOf(data.runs[id])}`))), hovertemplate: "%{text}<extra></extra>" })).filter((t) => t.x.length);
    const annotations = [...scales, last].flatMap((s, i) => s.ticks.map((t) => ({ x: i, y: s.at(t), text: plain(cut(number(t, 3), 14)), showarrow: false, xanchor: i === scales.length ? "left" : "right", xshift: i === scales.length ? 7 : -7, font: { size: 11, color: colour("soft") }, bgcolor: `${colour("card")}cc` })));
    const shapes = [...scales, last].map((_, i) => ({ type: "line", x0: i, x1: i, y0: 0, y1: 1, line: { color: colour("soft"), width: 1 }, layer: "below" }));
    const title = [...names, family().monitor];
    return { traces, extra: { annotations, shapes, margin: { l: 60, r: 60, t: 34, b: 10 }, xaxis: { side: "top", tickvals: title.map((_, i) => i), ticktext: title.map((t) => plain(cut(t, 18))), range: [-0.15, names.length + 0.15], showgrid: false, zeroline: false, fixedrange: true, tickfont: { color: colour("ink") } }, yaxis: { visible: false, range: [-0.06, 1.06], fixedrange: true } } };
  }
  // of a path the end tells more
  const cut = (text, n) => (text.length <= n ? text : text.startsWith("/") ? `…${text.slice(1 - n)}` : `${text.slice(0, n - 1)}…`);
  function effectPlot(name) {
    const all = valuesOf(scored(), name);
    const runs = scored().filter((_, i) => all[i] !== null), values = all.filter((v) => v !== null);
    const s = scale(values);
    const words = s.kind === "words";
    const x = values.map((v) => (words ? s.words.indexOf(String(v)) : v));
    const jitter = words ? runs.map((r, i) => x[i] + (((r.id * 7919) % 101) / 101 - 0.5) * 0.35) : x;
    const dots = { x: jitter, y: runs.map((r) => r.best), mode: "markers", customdata: runs.map((r) => r.id), marker: { size: 6, color: colour("accent"), opacity: runs.length > 200 ? 0.35 : 0.65 }, text: runs.map((r) => plain(nameOf(r))), hovertemplate: "%{text}<br>%{y:.5g}<extra></extra>" };
    const traces = [dots];
    const middle = medians(x, runs.map((r) => r.best));
    if (middle.x.length > 1 || words) traces.push({ ...middle, mode: words ? "markers" : "lines+markers", line: { color: PALETTE[1], width: 2 }, marker: words ? { color: PALETTE[1], size: 22, symbol: "line-ew-open", line: { width: 3, color: PALETTE[1] } } : { color: PALETTE[1], size: 6 }, hovertemplate: "median %{y:.5g}<extra></extra>" });
    const xaxis = words ? { tickvals: s.words.map((_, i) => i), ticktext: s.words.map((w) => plain(cut(w, 16))), range: [-0.6, s.words.length - 0.4] } : s.log ? { type: "log", tickvals: s.ticks, ticktext: s.ticks.map((t) => number(t, 2)) } : { type: "linear", nticks: 6 };
    return { traces, extra: { xaxis: { ...xaxis, title: { text: plain(name) } }, yaxis: { title: { text: plain(family().monitor) } } } };
  }
  function medians(x, y) { // at each value; of many values in up to eight groups of equal size
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
    const children = [el("div", { class: "plot" }, el("h3", {}, "Parallel coordinates: one line a run, the brighter the better"), el("div", { class: "scroll" }, chart(parallelPlot, "parallel coordinates", "tall wide")))];
    const effects = el("div", { class: "plots small" }, importanceBars(), ...names.slice(0, 12).map((n) => el("div", { class: "plot" }, el("h3", {}, n), chart(() => effectPlot(n), `effect of ${n}`))));
    return card("hyperparameters", "Hyperparameters", `Effect on the best ${family().monitor} (${family().mode === "min" ? "lower" : "higher"} is better). A click on a point opens the run.`, null, ...children, effects);
  }
  function importanceBars() {
    if (!family().importance.length) return null;
    const bars = el("div", { class: "bars" });
    for (const { name, share } of family().importance) {
      const bar = el("i", {});
      bar.style.width = `${100 * share}%`;
      bars.append(el("span", {}, name), el("span", { class: "bar" }, bar), el("span", {}, `${Math.round(100 * share)} %`));
    }
    return el("div", { class: "plot" }, el("h3", {}, "Importance"), bars, el("p", { class: "note", style: "margin-top:10px" }, "Share of the score's variance that each explains by itself (ω² of a one-way analysis of variance); what only two together explain does not show."));
  }

  // ---- the best runs on test
  function testCard() {
    const best = family().best;
    if (!best.length) return null;
    const blocks = el("div", { class: "plots" });
    const first = best[0].curves;
    if (first.confusion) best.forEach(({ run, curves }) => curves.confusion && blocks.append(el("div", { class: "plot" }, el("h3", { title: nameOf(data.runs[run]) }, `Confusion matrix: ${cut(nameOf(data.runs[run]), 90)}`), confusion(curves))));
    for (const [key, title, x, y] of [["roc", "ROC", "fpr", "tpr"], ["pr", "Precision and recall", "recall", "precision"], ["reliability", "Reliability: on the diagonal, probabilities come true as often as they say", "predicted", "observed"]]) {
      if (first[key]) blocks.append(el("div", { class: "plot" }, el("h3", {}, title), chart(() => linesPlot(best, key, x, y), title)));
    }
    if (first.scatter) for (const name of Object.keys(first.scatter).slice(0, 6)) blocks.append(el("div", { class: "plot" }, el("h3", {}, `Predicted and measured: ${name}`), chart(() => scatterPlot(best[0], name), `scatter of ${name}`)));
    return card("test", "Best runs on the test split", `The ${best.length} best by ${family().monitor}, with the checkpoint that was best on validation.`, null, blocks);
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
  function linesPlot(best, key, x, y) {
    const traces = [];
    if (key !== "pr") traces.push({ x: [0, 1], y: [0, 1], mode: "lines", line: { color: colour("line"), dash: "dash" }, hoverinfo: "skip" });
    best.forEach(({ run, curves }, i) => Object.entries(curves[key] || {}).slice(0, 8).forEach(([name, points], j) => {
      traces.push({ x: points[x], y: points[y], mode: points.n ? "lines+markers" : "lines", text: points[x].map((_, k) => (points.n ? `<br>${points.n[k]} items` : "")), line: { color: PALETTE[(i === 0 ? j : i + 7) % PALETTE.length], width: i === 0 ? 2 : 1, dash: i === 0 ? "solid" : "dot" }, customdata: points[x].map(() => run), hovertemplate: `${plain(name)}<br>${plain(nameOf(data.runs[run]))}<br>%{x:.3f}, %{y:.3f}%{text}<extra></extra>` });
    }));
    const says = { fpr: "false positive rate", tpr: "true positive rate", predicted: "mean probability", observed: "share of positives" };
    return { traces, extra: { xaxis: { title: { text: says[x] || x }, range: [-0.02, 1.02] }, yaxis: { title: { text: says[y] || y }, range: [-0.02, 1.02] } } };
  }
  function scatterPlot({ run, curves }, name) {
    const { target, predicted } = curves.scatter[name];
    const all = [...target, ...predicted], ends = [Math.min(...all), Math.max(...all)];
    return { traces: [{ x: ends, y: ends, mode: "lines", line: { color: colour("line"), dash: "dash" }, hoverinfo: "skip" }, { x: target, y: predicted, mode: "markers", customdata: target.map(() => run), marker: { size: 4, color: colour("accent"), opacity: 0.5 }, hovertemplate: "measured %{x:.4g}, predicted %{y:.4g}<extra></extra>" }],
      extra: { xaxis: { title: { text: "measured" } }, yaxis: { title: { text: "predicted" } } } };
  }

  // ---- resources
  function resources() {
    const runs = data.runs.filter((r) => r.used.time || r.used.memory);
    if (!runs.length) return null;
    const plots = el("div", { class: "plots" });
    if (runs.some((r) => r.used.time)) plots.append(el("div", { class: "plot" }, el("h3", {}, "Time, in minutes: used, and asked for"), chart(() => usedPlot("time", 60, "minutes"), "time")));
    if (runs.some((r) => r.used.memory)) plots.append(el("div", { class: "plot" }, el("h3", {}, "Main memory at the peak, in GB: used, and asked for"), chart(() => usedPlot("memory", 2 ** 30, "GB"), "memory")));
    const hours = runs.reduce((a, r) => a + (r.used.time || 0), 0) / 3600;
    return card("resources", "Resources", `${number(hours, 3)} hours of runs in all.`, null, plots);
  }
  function usedPlot(key, unit, label) {
    const runs = data.runs.filter((r) => r.used[key]).sort((a, b) => b.used[key] - a.used[key]);
    const x = runs.map((_, i) => i + 1), text = runs.map((r) => plain(nameOf(r))), customdata = runs.map((r) => r.id);
    const traces = [{ type: runs.length > 80 ? "scatter" : "bar", mode: "markers", x, y: runs.map((r) => r.used[key] / unit), text, customdata, textposition: "none", marker: { color: runs.map((r) => colour(r.state)), size: 4 }, hovertemplate: `%{text}<br>used %{y:.3g} ${label}<extra></extra>` }];
    if (runs.some((r) => r.asked[key])) traces.push({ x, y: runs.map((r) => (r.asked[key] ? r.asked[key] / unit : null)), mode: "lines", line: { color: colour("soft"), dash: "dash", shape: "hvh" }, hovertemplate: `asked for %{y:.3g} ${label}<extra></extra>` });
    return { traces, extra: { xaxis: { title: { text: "runs, the most demanding first" } }, yaxis: { title: { text: label }, rangemode: "tozero" }, bargap: 0.15 } };
  }

  // ---- one run
  let dialog = null;
  function openRun(id) {
    const run = data.runs[id];
    if (dialog) dialog.remove();
    const close = () => dialog.close();
    dialog = el("dialog", { id: "run", "aria-label": "run", onclose: () => { history.replaceState(null, "", location.pathname + location.search); dialog.remove(); dialog = null; }, onclick: (e) => e.target === dialog && close() });
    const top = el("div", { class: "top" }, el("div", {}, el("h2", {}, nameOf(run)), stateTag(run.state), ` ${run.reason || ""}`), el("button", { class: "plain", type: "button", onclick: close, "aria-label": "close" }, "✕"));
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
  const usedOf = (used, asked) => (used && asked ? `${used} of ${asked} asked for` : used || (asked && `${asked} asked for`));
  function runBody(run) {
    const f = data.families[run.family];
    const scores = Object.entries(run.cells).filter(([k, v]) => v !== null && (k === "best" || k === "last" || k.startsWith("test_")));
    const facts = [["folder", run.folder], ["attempts", run.attempts], ...Object.entries(run.about), ...scores.map(([k, v]) => [k === "best" || k === "last" ? `${k} ${f.monitor}` : k, number(v)]),
      ["time", usedOf(duration(run.used.time), duration(run.asked.time))],
      ["memory", usedOf(gigabytes(run.used.memory), gigabytes(run.asked.memory))]].filter(([, v]) => v !== "" && v !== null);
    const found = [];
    if (run.detail) found.push(el("pre", { class: "detail" }, run.detail));
    found.push(pairs(facts));
    const names = Object.keys(run.curves).filter((n) => n === "train_loss" || n === "valid_loss" || n === f.monitor);
    if (names.length) {
      const node = chart(() => ({ traces: names.map((n, i) => ({ x: run.curves[n][0], y: run.curves[n][1], mode: run.curves[n][0].length < 30 ? "lines+markers" : "lines", name: plain(n), line: { color: PALETTE[i] }, hovertemplate: `${plain(n)} %{y:.5g}<extra></extra>` })), extra: { showlegend: true, legend: { orientation: "h", y: 1.15 }, xaxis: { title: { text: "step" } } } }), "curves of this run");
      found.push(node);
    }
    if (run.audit) found.push(el("h3", {}, "Audit of the test split"), el("pre", {}, run.audit));
    found.push(el("h3", {}, "Log (the end of stderr)"), run.log ? logText(run) : el("p", { class: "note" }, "empty, or not kept"));
    if (run.out) found.push(el("details", {}, el("summary", {}, "stdout"), el("pre", {}, run.out)));
    const own = Object.entries(run.hparams), common = Object.entries(data.common);
    found.push(el("h3", {}, "Hyperparameters that differ between runs"), own.length ? pairs(own, data.varying) : el("p", { class: "note" }, "none"));
    found.push(el("details", {}, el("summary", {}, `${common.length} that are the same in all runs`), pairs(common)));
    return found;
  }
  function logText(run) {
    const at = run.detail ? run.log.lastIndexOf(run.detail) : -1;
    if (at < 0) return el("pre", { class: "log" }, run.log);
    return el("pre", { class: "log" }, run.log.slice(0, at), el("mark", {}, run.detail), run.log.slice(at + run.detail.length));
  }

  // ---- all together
  function rebuild() {
    watcher.disconnect();
    charts.length = 0;
    if (!data.runs.length) {
      page.replaceChildren(header(), el("section", { class: "card empty" }, "There is no run in this folder yet."));
      return;
    }
    const cards = [problems(), tableCard(), curvesCard(), hyperparameters(), testCard(), resources()].filter(Boolean);
    const nav = el("nav", {}, ...cards.map((c) => el("a", { href: `#${c.id}` }, c.querySelector("h2").textContent)));
    page.replaceChildren(header(), nav, tiles(), familyChoice() || "", ...cards);
    fillHead();
    fillTable();
  }
  // plotly takes the longest to start: the tables are there before it
  function startPlotly() {
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
    for (const item of charts) watcher.observe(item.node);
    document.documentElement.dataset.ready = "charts";
  }
  rebuild();
  const asked = /^#run-(\d+)$/.exec(location.hash);
  if (asked && data.runs[Number(asked[1])]) openRun(Number(asked[1]));
  document.documentElement.dataset.ready = "tables";
  requestAnimationFrame(() => setTimeout(startPlotly, 0));
})();
