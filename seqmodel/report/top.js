// ---- top of the page
function header() {
  const theme = el("button", { class: "plain", type: "button", title: "light or dark", onclick: () => {
    const dark = getComputedStyle(document.body).backgroundColor.match(/\d+/)[0] < 100;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    redraw();
  } }, "◐ theme");
  const made = `${data.runs.length} runs · ${data.made} · seqmodel ${data.seqmodel}`;
  return el("header", {}, el("h1", {}, data.name), el("span", { class: "made" }, made), theme, el("p", { class: "path" }, data.root));
}
function tiles() {
  const found = el("div", { class: "tiles" });
  data.families.forEach((f, i) => {
    const runs = data.runs.filter((r) => r.family === i && r.best !== null);
    if (!runs.length) return;
    const best = runs.reduce((a, b) => ((f.mode === "min" ? b.best < a.best : b.best > a.best) ? b : a));
    found.append(el("button", { class: "tile wide best", type: "button", onclick: () => openRun(best.id) },
      el("b", {}, number(best.best)), el("span", {}, `best ${f.monitor}${f.task ? `, ${f.task}` : ""}`), el("small", {}, nameOf(best))));
  });
  for (const state of STATES) {
    const button = el("button", { class: "tile", type: "button", "data-state": state, "aria-pressed": "false", onclick: () => {
      if (!shown.states.delete(state)) shown.states.add(state);
      for (const b of found.querySelectorAll("button")) b.setAttribute("aria-pressed", shown.states.has(b.dataset.state));
      fillTable();
    } }, el("b", {}, String(data.states[state])), stateTag(state));
    found.append(button);
  }
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
  if (!data.failures.length) return null;
  const list = el("div", {});
  const add = (found) => { for (const failure of found) list.append(problem(failure)); };
  add(data.failures.slice(0, 12));
  const rest = data.failures.slice(12);
  const more = rest.length ? el("button", { class: "plain", type: "button", onclick: () => { add(rest); more.remove(); } }, `show ${rest.length} more`) : null;
  return card("problems", "What went wrong", "Runs with the same cause are together. Click a run to open its log.", null, list, more);
}
function problem({ state, reason, line, shared, runs }) {
  const alone = runs.length === 1, open = () => openRun(runs[0].run);
  const title = alone ? runs[0].label : `${runs.length} runs${shared.length ? `, all with ${shared.join(", ")}` : ""}`;
  const names = el("div", { class: "names" });
  const add = (found) => { for (const { run, label } of found) names.append(el("button", { type: "button", "data-run": run, onclick: () => openRun(run) }, label)); };
  if (!alone) {
    add(runs.slice(0, 8));
    if (runs.length > 8) names.append(el("button", { type: "button", class: "more", onclick: (e) => { e.target.remove(); add(runs.slice(8)); } }, `${runs.length - 8} more`));
  }
  return el("div", { class: `problem ${state}-line`, ...(alone ? { tabindex: "0", "data-run": runs[0].run, onclick: open, onkeydown: (e) => e.key === "Enter" && open() } : {}) },
    stateTag(state), el("span", { class: "who" }, el("b", {}, title), reason ? ` · ${reason}` : ""), line ? el("code", {}, line) : null, alone ? null : names);
}
