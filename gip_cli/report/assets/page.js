// The page: unpack, fill, and keep map, table and pinned card together.

function hasWebgl() {
  return document.createElement("canvas").getContext("webgl") !== null;
}

function fill(id, ...children) {
  byId(id).replaceChildren(...children);
}

function answer(question, figure, ...lines) {
  return el("div", { className: "answer" }, el("h2", {}, question), el("div", { className: "figure" }, figure), ...lines.map((line) => el("p", {}, ...line)));
}

const FAINT = 0.15; // a knee less than this above the chord is no place to stop
const ASKS = { self: "the pool itself", signals: "the rows that their signals call good", targets: "the target examples" };

/** What the picks were to capture: "the pool itself (25%) and the target examples (75%)". */
function asked(query) {
  const sources = Object.entries(query);
  return sources.map(([name, share]) => sources.length > 1 ? `${ASKS[name]} (${percent(share, 0)})` : ASKS[name]).join(" and ");
}

const strong = (text) => el("strong", {}, text);

function showAnswers(data, selection) {
  const { curve, coverage } = selection;
  const { random, knee, better } = curve;
  const [mean, low, high] = random.same;
  const captured = curve.captured.at(-1);
  const ahead = captured - mean;
  const byTokens = selection.tokens !== null;
  const needs = selection.all ? ["The picks hold all rows that could be picked: there was nothing to choose."] : byTokens ? [] : random.needed === null
    ? ["Even ", strong(counted(random.searched, "random row")), random.searched === 1 ? " captures less." : " capture less."]
    : ["Random takes ", strong(counted(random.needed, "row")), " for as much."];
  const bend = knee.n === selection.size ? "the curve does not bend before its end"
    : knee.sharpness < FAINT ? "the curve bends here, but hardly; every further row still adds" : "the curve bends here";
  document.title = `gip report: ${selection.name}`;
  byId("headline").textContent = `${count(selection.size)} of ${counted(data.pool.rows, "row")}`;
  byId("from").textContent = `${selection.name}, picked from ${data.pool.name}`;
  fill("answers",
    answer("What did I get?", percent(captured),
      [`of the query’s energy, which is that of ${asked(data.query)}. All rows that could be picked have `, strong(percent(curve.pool)), "."],
      ["A row of the pool has its best pick at cosine ", strong(coverage.picks.toFixed(3)), ` on average (random ${coverage.random.toFixed(3)}).`]),
    answer("Is it better than random?", el("span", { className: better ? "picks-ink" : selection.all ? "" : "warn-ink" }, better ? `${signed(100 * ahead, 1)} points` : selection.all ? "No choice" : "No"),
      [`Random rows ${byTokens ? `of no more than ${counted(selection.tokens, "token")} ` : ""}capture `, strong(percent(mean)), ` (${percent(low)} to ${percent(high)}, ${random.seeds} seeds). `, ...needs],
      curve.top ? ["The top rows by signal capture ", strong(percent(curve.top.at(-1))), "."] : [`${data.signals.length ? "Too few rows have all signals" : "The pool has no signals"} to rank by.`]),
    answer("How small can I go?", counted(knee.n, "row"),
      [knee.n === 1 ? "keeps " : "keep ", strong(percent(captured ? knee.captured / captured : 0, 0)),
        ` of that${curve.before > 0 ? ` (the rows given before alone ${percent(curve.before / captured, 0)})` : ""}: ${bend}.`]));
  fill("warnings",
    ...selection.warnings.map((text) => el("li", { className: "warn" }, text)),
    ...data.notes.map((text) => el("li", {}, text)));
}

function showKeep(selection) {
  let captured = selection.curve.before;
  const totals = selection.curve.gains.map((gain) => (captured += gain));
  const slider = byId("keep");
  const number = byId("keep-number");
  slider.max = number.max = selection.size;
  const show = (value) => {
    const rows = Math.min(selection.size, Math.max(1, Math.round(value) || 1));
    slider.value = number.value = rows;
    const { n, random: { mean } } = selection.curve;
    const at = n.findIndex((picks) => picks >= rows);
    const left = (n[at] - rows) / (n[at] - n[at - 1]);
    const random = mean[at] - left * (mean[at] - mean[at - 1]);
    byId("kept").textContent = `captures ${percent(totals[rows - 1])} (random ${percent(random)})`;
    const commands = selection.curve.commands.map((command) => commandLine(command.replaceAll("@N@", rows)));
    const none = "No command selects fewer: its quotas change with the budget, or a file or the receipt is not there.";
    fill("commands", ...(commands.length ? commands : [el("p", {}, none)]));
  };
  slider.oninput = number.onchange = (event) => show(event.target.valueAsNumber);
  show(selection.curve.knee.n);
}

function commandLine(text) {
  const button = el("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  });
  return el("div", { className: "command" }, el("code", { tabIndex: 0 }, text), navigator.clipboard ? button : null); // none over plain http
}

function effect(shift) {
  const size = Math.abs(shift);
  return size < 0.2 ? "negligible" : size < 0.5 ? "small" : size < 0.8 ? "medium" : "large";
}

function showChanges(selection) {
  const measures = selection.changes.measures.map((one) => {
    const { mean, shift, random_shift: random } = one;
    const node = el("div", { className: "chart" });
    const means = `mean ${short(mean.picks)} · pool ${short(mean.pool)} · random ${short(mean.random)}`;
    const moved = shift === null || random === null ? [] : [
      el("span", { className: "badge" }, `${signed(shift)} SD, ${effect(shift)}`),
      ` (random ${signed(random[0])} to ${signed(random[1])})`];
    const unknown = one.unknown ? ` · unknown ${count(one.unknown)}` : "";
    queueMicrotask(() => drawBars(node, one, lastBar(one), `${one.name}: ${means}`));
    return el("figure", {}, el("h3", {}, one.name), el("p", {}, ...moved), el("p", {}, means + unknown), node);
  });
  const groups = selection.changes.groups.map((group) => {
    const node = el("div", { className: "chart" });
    const most = group.h.reduce((best, h, at) => (Math.abs(h) > Math.abs(group.h[best]) ? at : best), 0);
    const moved = `largest change: ${cut(group.labels[most], 40)}, ${percent(group.pool[most])} → ${percent(group.picks[most])} (Cohen’s h ${signed(group.h[most])})`;
    const more = group.labels.length > GROUPS_SHOWN ? ` · the largest ${GROUPS_SHOWN} of ${count(group.labels.length)} groups` : "";
    const absent = group.absent ? ` · groups without a pick: ${count(group.absent)}` : "";
    queueMicrotask(() => drawGroups(node, group));
    return el("figure", { className: "wide" }, el("h3", {}, group.field), el("p", {}, moved + more + absent), node);
  });
  fill("changes", ...measures, ...groups);
}

function showRedundancy(selection, rows, pin) {
  const { near } = selection;
  byId("near-about").textContent = near.picks === null
    ? "One pick alone has no neighbour."
    : `A pick’s nearest other pick is at cosine ${near.picks.toFixed(3)} on average` +
      (near.random === null ? "." : `; among random rows ${near.random.toFixed(3)}.`);
  byId("near").hidden = byId("near-legend").hidden = near.picks === null;
  if (near.picks !== null) drawBars(byId("near"), near, ["cosine with the nearest other pick", lastBar(near)].filter(Boolean).join("; "), byId("near-about").textContent);
  const quote = (row) => {
    const rank = rows.ranks.get(row);
    const button = el("button", { type: "button", className: "link" }, rank === undefined ? `line ${count(rows.data.rows.line[row])}` : `pick ${count(rank + 1)}`);
    button.addEventListener("click", () => pin(row, true));
    return el("p", {}, button, " ", el("bdi", {}, rows.text[row])); // its direction is its own, not the button's
  };
  const item = (cosine, ...members) => el("li", {}, el("b", {}, `cosine ${cosine.toFixed(3)}`), ...members.filter((row) => row >= 0).map(quote));
  for (const list of ["pairs", "worst"]) byId(list).parentElement.hidden = !selection[list].length;
  fill("pairs", ...selection.pairs.map(({ ranks, cosine }) => item(cosine, ...ranks.map((rank) => selection.picks[rank]))));
  fill("worst", ...selection.worst.map(({ row, nearest, cosine }) => item(cosine, row, selection.picks[nearest])));
}

function showRun(data, selection) {
  const { receipt } = selection;
  const facts = {
    "pool": `${data.pool.name}, ${counted(data.pool.rows, "row")}, ${count(data.pool.pickable)} of which could be picked`,
    "query": Object.entries(data.query).map(([name, share]) => `${name} ${percent(share, 0)}`).join(", "),
    "noise": short(data.noise),
    "report by": `gip ${data.gip}`,
  };
  if (receipt) {
    facts["selected by"] = `gip ${receipt.gip}, numpy ${receipt.numpy}`;
    facts["embeddings"] = `${receipt.embeddings.path ?? "made for the run"}: ${receipt.embeddings.model}, ${receipt.embeddings.dimension} dimensions`;
    facts["input digest"] = `BLAKE2b ${receipt.input.blake2b}`;
    for (const [name, value] of Object.entries(receipt.options))
      if (name !== "noise" && value !== null && value !== false && (typeof value !== "object" || Object.keys(value).length))
        facts[name.replaceAll("_", " ")] = typeof value === "object" ? JSON.stringify(value) : String(value);
    byId("receipt").querySelector("pre").textContent = JSON.stringify(receipt, null, 2);
  }
  byId("receipt").hidden = !receipt;
  fill("run", ...Object.entries(facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

class Page {
  constructor(data) {
    this.data = data;
    this.webgl = data.webgl && hasWebgl();
    this.pinned = null;
    this.rows = new Rows(data, (row) => this.pin(row));
    this.map = byId("map");
    data.selections.forEach((selection, at) => byId("selection").append(el("option", { value: at }, selection.name)));
    byId("switch").hidden = data.selections.length < 2;
    const { shown, all } = { shown: data.map.x.length, all: data.pool.rows };
    const every = data.selections.every((selection) => !selection.picks.includes(-1));
    byId("map-about").textContent = `${data.map.about}. Pool in grey, picks by rank. Click a point to pin its row; a lasso or a search narrows the table below.` +
      (shown < all ? ` Shown are ${every ? "the picks and a seeded sample" : "the worst covered rows and the first picks, as many as fit"}, ${count(shown)} of ${count(all)} rows.` : "");
    this.listen();
  }

  listen() {
    addEventListener("resize", () => this.rows.fit());
    byId("selection").addEventListener("change", (event) => this.show(event.target.value));
    byId("theme").addEventListener("click", () => (theme.set(!theme.dark()), this.draw()));
    byId("search").addEventListener("input", (event) => this.narrow({ query: event.target.value.toLowerCase() }));
    byId("scope").addEventListener("change", (event) => this.narrow({ scope: event.target.value }));
    byId("clear").addEventListener("click", () => this.narrow({ lasso: null }));
    byId("previous").addEventListener("click", () => this.narrow({ page: this.rows.page - 1 }));
    byId("next").addEventListener("click", () => this.narrow({ page: this.rows.page + 1 }));
    for (const button of document.querySelectorAll("[data-drag]"))
      button.addEventListener("click", () => {
        for (const one of document.querySelectorAll("[data-drag]")) one.setAttribute("aria-pressed", one === button);
        Plotly.relayout(this.map, { dragmode: button.dataset.drag });
      });
    byId("reset").addEventListener("click", () => {
      Plotly.relayout(this.map, { "xaxis.autorange": true, "yaxis.autorange": true, selections: [] });
      this.narrow({ lasso: null });
    });
  }

  /** Everything, for the selection at `at`. */
  async show(at) {
    const selection = (this.selection = this.data.selections[at]);
    showAnswers(this.data, selection);
    showKeep(selection);
    showRun(this.data, selection);
    this.rows.show(selection);
    await this.draw();
    this.hearMap();
    this.pin(this.pinned ?? selection.picks.find((row) => row >= 0) ?? 0);
  }

  /** The charts, in the colours of the theme. */
  async draw() {
    const { selection } = this;
    drawCurve(byId("curve"), this.data.selections, selection);
    showChanges(selection);
    showRedundancy(selection, this.rows, (row) => this.pin(row, true));
    await drawMap(this.map, this.data, { ...selection, drag: this.map.layout?.dragmode }, this.webgl);
    markMap(this.map, this.data, this.pinned, this.rows.chosen());
  }

  /** On paper: dark on light, and charts as wide as a page; afterwards as before. */
  async print(on) {
    const { classList } = document.documentElement;
    if (on && !classList.contains("print")) this.dark = theme.dark();
    classList.toggle("print", on);
    theme.set(!on && this.dark);
    this.rows.fit();
    await this.draw();
    for (const chart of document.querySelectorAll(".js-plotly-plot")) Plotly.relayout(chart, { autosize: true });
  }

  hearMap() {
    if (this.heard) return;
    this.heard = true;
    const tip = byId("tip");
    let hovered; // the row under the mouse, if any
    let pressed; // where the mouse went down, and on which row, until it moves away
    const row = (event) => event.points.find((point) => point.customdata !== undefined)?.customdata;
    this.map.on("plotly_hover", (event) => {
      hovered = row(event);
      if (hovered === undefined) return;
      tip.replaceChildren(...this.rows.tip(hovered));
      tip.hidden = false;
      const { clientX: x, clientY: y } = event.event;
      tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
      tip.style.top = `${y + 14 + tip.offsetHeight > innerHeight ? Math.max(8, y - 14 - tip.offsetHeight) : y + 14}px`;
    });
    this.map.on("plotly_unhover", () => {
      hovered = undefined;
      tip.hidden = true;
    });
    // Plotly's own click is lost where the mouse moves by a pixel while it is down; taps have only that.
    this.map.on("plotly_click", (event) => row(event) !== undefined && this.pin(row(event)));
    this.map.addEventListener("mousedown", ({ clientX: x, clientY: y }) => (pressed = { x, y, row: hovered }), true);
    addEventListener("mousemove", ({ clientX: x, clientY: y }) => {
      if (pressed && Math.hypot(x - pressed.x, y - pressed.y) >= 5) pressed = undefined; // a lasso may come back
    }, true);
    addEventListener("mouseup", () => {
      if (pressed?.row !== undefined) this.pin(pressed.row);
      pressed = undefined;
    }, true);
    this.map.on("plotly_selected", (event) => {
      const inside = (event?.points ?? []).map((point) => point.customdata).filter((row) => row !== undefined); // not the ring
      if (inside.length) this.narrow({ lasso: new Set(inside) });
    });
    this.map.on("plotly_deselect", () => this.narrow({ lasso: null }));
  }

  /** Narrow the table, and dim on the map what it leaves out. */
  narrow(change) {
    Object.assign(this.rows, { page: 0, ...change });
    this.rows.list();
    markMap(this.map, this.data, this.pinned, this.rows.chosen());
  }

  pin(row, scroll = false) {
    this.pinned = row;
    fill("pinned", ...this.rows.card(row));
    markMap(this.map, this.data, row, this.rows.chosen());
    if (scroll) byId("pinned").scrollIntoView({ block: "nearest" });
  }
}

async function start() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme.set(dark.matches);
  const [data, plotly] = await Promise.all([unpack("data"), unpack("plotly")]);
  document.head.append(el("script", { textContent: plotly })); // allowed by its hash
  const page = new Page(JSON.parse(data));
  dark.addEventListener("change", () => (theme.set(dark.matches), page.draw()));
  addEventListener("beforeprint", () => page.print(true));
  addEventListener("afterprint", () => page.print(false));
  document.querySelector("main").hidden = false;
  await page.show(0);
  byId("loading").hidden = true;
}

start().catch((error) => {
  byId("loading").textContent = `This browser cannot show the report: ${error.message}. It needs one from 2023 or later.`;
  throw error;
});
