// Rows as people read them: the card of one, the tip of a hovered one, the table of many.

const PER_PAGE = 25;
const TABLE = 785; // pixels that a table takes at least; below, and where its columns need more, rows are cards
const RANK = 0, GAIN = 2; // their columns' places; columns go by place, as a dataset may call a signal anything

class Rows {
  constructor(data, onPin) {
    this.data = data;
    this.onPin = onPin;
    this.text = data.rows.turns.map((turns) => turns.filter((_, at) => at % 2).join("\n"));
    this.lower = null; // texts in lower case, made at the first search
    this.query = "";
    this.lasso = null; // a set of rows, or null
    this.scope = "picks";
    this.open = null;
    this.page = 0;
  }

  show(selection) {
    this.selection = selection;
    this.ranks = new Map(selection.picks.map((row, rank) => [row, rank]).filter(([row]) => row >= 0));
    this.order = { at: RANK, down: false };
    this.head();
    this.list();
  }

  columns() {
    const { rows, signals, fields, labels } = this.data;
    const number = (name, value, show) => ({ name, value, show, kind: "number" });
    const { gains } = this.selection.curve;
    const rank = (row) => this.ranks.get(row) ?? null;
    return [
      number("rank", rank, (value) => count(value + 1)),
      { name: "text", value: (row) => this.text[row].toLowerCase(), kind: "text" },
      number("gain", (row) => (rank(row) === null ? null : gains[rank(row)]), (value) => percent(value, 2)),
      ...signals.map((name, at) => number(name, (row) => rows.signals[at][row], short)),
      number(this.data.unit, (row) => rows.length[row], count),
      ...fields.map((name, at) => ({ name, value: (row) => labels[at][rows.groups[at][row]], kind: "group" })),
    ];
  }

  /** What a row is, in facts and in full; everything of the dataset as text nodes. */
  card(row) {
    const { rows } = this.data;
    const rank = this.ranks.get(row);
    const facts = el("dl", { className: "facts" });
    const shown = ({ kind, show }, value) => (show ? show(value) : kind === "group" ? cut(value, 200) : value);
    const fact = (name, value) => facts.append(el("dt", {}, name), el("dd", {}, value));
    for (const [at, column] of this.columns().entries()) {
      const value = column.value(row);
      if (column.kind === "text" || at === RANK || (at === GAIN && value === null)) continue;
      fact(column.name, value === null ? "–" : shown(column, value));
    }
    if (this.selection.cosine[row] !== null) {
      const nearest = this.selection.nearest[row];
      const to = this.selection.picks[nearest]; // -1 where there are more picks than can be shown
      const jump = to < 0 ? `pick ${count(nearest + 1)}` : el("button", { type: "button", className: "link" }, `pick ${count(nearest + 1)}`);
      if (to >= 0) jump.addEventListener("click", () => this.onPin(to));
      fact("nearest pick", el("span", {}, jump, `, cosine ${this.selection.cosine[row].toFixed(2)}`));
    }
    const turns = [];
    for (let at = 0; at < rows.turns[row].length; at += 2) {
      const [role, text] = rows.turns[row].slice(at, at + 2);
      turns.push(el("div", { className: "turn" }, el("b", {}, role), el("div", { dir: "auto" }, text)));
    }
    const left = rows.cut[row] ? el("p", { className: "muted" }, `${counted(rows.cut[row], "more character")} in the file`) : null;
    const name = rank === undefined ? "Not picked" : `Pick ${count(rank + 1)} of ${count(this.selection.size)}`;
    const place = el("p", { className: "muted" }, `line ${count(rows.line[row])} of the pool`);
    return [el("h3", {}, name), place, facts, ...turns, left].filter((part) => part !== null);
  }

  tip(row) {
    const rank = this.ranks.get(row);
    const facts = this.data.signals.map((name, at) => `${name} ${short(this.data.rows.signals[at][row])}`);
    if (this.selection.cosine[row] !== null)
      facts.push(`nearest pick ${count(this.selection.nearest[row] + 1)}, cosine ${this.selection.cosine[row].toFixed(2)}`);
    return [
      el("b", {}, rank === undefined ? "Not picked" : `Pick ${count(rank + 1)}`),
      el("p", { dir: "auto" }, cut(this.text[row], 260)),
      el("span", { className: "muted" }, facts.join(" · ")),
    ];
  }

  /** The rows that search and lasso leave, or null where neither is used. */
  chosen() {
    if (!this.query && !this.lasso) return null;
    this.lower ??= this.text.map((text) => text.toLowerCase());
    const all = this.lasso ?? this.text.keys();
    return new Set([...all].filter((row) => this.lower[row].includes(this.query)));
  }

  head() {
    const sort = (column, at) => {
      const own = this.order.at === at;
      this.order = { at, down: own ? !this.order.down : column.kind === "number" && at !== RANK };
      this.page = 0;
      this.head();
      this.list();
      byId("table").querySelector(`th:nth-child(${at + 1}) button`).focus();
    };
    const cells = this.columns().map((column, at) => {
      const button = el("button", { type: "button" }, column.name);
      button.addEventListener("click", () => sort(column, at));
      const sorted = this.order.at !== at ? "none" : this.order.down ? "descending" : "ascending";
      return el("th", { className: column.kind, scope: "col", "aria-sort": sorted }, button);
    });
    byId("table").tHead.replaceChildren(el("tr", {}, ...cells));
  }

  listed() {
    const chosen = this.chosen();
    const all = this.scope === "picks" ? [...this.ranks.keys()] : [...this.text.keys()];
    const rows = chosen ? all.filter((row) => chosen.has(row)) : all;
    const { value } = this.columns()[this.order.at];
    const keyed = rows.map((row) => [value(row), row]);
    const way = this.order.down ? -1 : 1;
    keyed.sort(([a], [b]) => (a === null) - (b === null) || way * (a < b ? -1 : a > b ? 1 : 0));
    return { rows: keyed.map(([, row]) => row), of: all.length };
  }

  list() {
    const { rows, of } = this.listed();
    const pages = Math.max(1, Math.ceil(rows.length / PER_PAGE));
    this.page = Math.min(this.page, pages - 1);
    const columns = this.columns();
    const lines = rows.slice(this.page * PER_PAGE, (this.page + 1) * PER_PAGE).flatMap((row) => this.line(row, columns));
    byId("table").tBodies[0].replaceChildren(...lines);
    const all = counted(of, this.scope === "picks" ? "pick" : "row");
    const where = this.lasso ? " inside the lasso" : "";
    byId("found").textContent = rows.length === of ? all : `${count(rows.length)} of ${all}${where}`;
    byId("clear").hidden = !this.lasso;
    byId("page").textContent = `Page ${count(this.page + 1)} of ${count(pages)}`;
    byId("previous").disabled = this.page === 0;
    byId("next").disabled = this.page === pages - 1;
    this.fit();
  }

  fit() {
    const table = byId("table");
    table.classList.remove("cards");
    table.classList.toggle("cards", Math.max(TABLE, table.offsetWidth) > table.parentElement.clientWidth);
  }

  line(row, columns) {
    const cells = columns.map((column, at) => {
      const value = column.value(row);
      if (column.kind === "text") return el("td", { className: "text" }, el("span", { dir: "auto" }, this.text[row]));
      let shown = value === null ? "–" : column.show ? column.show(value) : cut(value, 60);
      if (at === RANK)
        shown = el("button", { type: "button", className: "link", "aria-expanded": row === this.open, "aria-label": `Show row, rank ${shown}` }, shown);
      return el("td", { className: column.kind, "data-name": column.name }, shown);
    });
    const line = el("tr", { className: "row" }, ...cells);
    line.addEventListener("click", () => this.toggle(row));
    if (row !== this.open) return [line];
    return [line, el("tr", { className: "open" }, el("td", { colSpan: columns.length }, el("div", { className: "opened", tabIndex: 0 }, ...this.card(row))))];
  }

  toggle(row) {
    this.open = this.open === row ? null : row;
    this.list();
    byId("table").querySelector("[aria-expanded=true]")?.focus({ preventScroll: true });
    if (this.open !== null) this.onPin(row);
  }
}
