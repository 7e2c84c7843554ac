// ---- the table
let body, headRow, tableNote, pager;
function tableCard() {
  const search = el("input", { type: "search", id: "filter", placeholder: "filter: text, or lr<0.01 state=error", "aria-label": "filter runs", oninput: () => { shown.text = search.value; shown.limit = 200; fillTable(); } });
  const views = [["runs", "one row per run"], ["groups", "mean over replicates"]];
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
  const inert = (v) => (/^[=+\-@\t\r]/.test(v) && !Number.isFinite(Number(v)) ? `'${v}` : v); // no spreadsheet runs it as a formula
  const quote = (v) => (/[",\n\r]/.test(v) ? `"${v.replace(/"/g, '""')}"` : v);
  const keys = columns().map((c) => c.key).concat(shown.grouped ? [] : ["folder"]);
  const text = (row, key) => { const v = key === "folder" ? row.folder : valueOf(row, key); return v === null || v === undefined ? "" : String(v); };
  const lines = [keys, ...chosenRows().map((row) => keys.map((key) => text(row, key)))].map((line) => line.map((v) => quote(inert(v))).join(","));
  const link = el("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })), download: "runs.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}
