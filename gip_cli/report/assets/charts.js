// The charts: data in, Plotly traces out. Pool, picks and random differ in shape, not only colour.

const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b"];

/** Early picks stand out most: dark on light ground, bright on dark ground. */
function rankScale() {
  const colours = theme.dark() ? [...VIRIDIS.slice(2)].reverse() : VIRIDIS;
  return colours.map((colour, at) => [at / (colours.length - 1), colour]);
}

function draw(node, traces, layout, about) {
  const ink = theme.colour("muted");
  const axis = { gridcolor: theme.colour("line"), linecolor: theme.colour("line"), zeroline: false, automargin: true };
  const style = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    hoverlabel: { bgcolor: theme.colour("surface"), bordercolor: theme.colour("line"), font: { color: theme.colour("ink") } },
    legend: { traceorder: "normal", orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: theme.colour("ink") } },
    bargap: 0,
    barmode: "overlay",
    ...layout,
    xaxis: { ...axis, ...layout.xaxis, title: { font: { size: 13 }, ...layout.xaxis.title } },
    yaxis: { ...axis, ...layout.yaxis, title: { font: { size: 13 }, ...layout.yaxis.title } },
  };
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", about);
  return Plotly.react(node, traces, style, { displayModeBar: false, responsive: true, scrollZoom: false });
}

// Of selections that are not the active one, so that each is told from the others without a hover.
const DASHES = ["longdashdot", "longdash", "dashdot", "12px,3px,2px,3px,2px,3px", "2px,6px"];

function drawCurve(node, selections, active) {
  const { curve, size } = active;
  const { random, knee } = curve;
  const narrow = node.clientWidth < 500;
  const most = Math.max(...selections.map((one) => one.size));
  const line = (x, y, name, colour, dash, width = 2) => ({
    x, y, name, mode: "lines", line: { color: colour, dash, width }, hovertemplate: "%{y:.1%}",
  });
  const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, x: curve.n };
  const fill = theme.colour("random") + "33";
  const traces = [
    { ...edge, y: random.low },
    { ...edge, y: random.high, fill: "tonexty", fillcolor: fill },
    line(curve.n, random.mean, narrow ? "random" : `random, ${random.seeds} seeds`, theme.colour("random"), "dash"),
  ];
  if (curve.top) traces.push(line(curve.n, curve.top, narrow ? "top-k" : "top-k by signal", theme.colour("top"), "dot"));
  selections.forEach((other, at) => {
    const own = other === active;
    const colour = own ? theme.colour("picks") : theme.colour("muted");
    const dash = own ? "solid" : DASHES[at % DASHES.length];
    traces.push(line(other.curve.n, other.curve.captured, plain(end(other.name, 32)), colour, dash, own ? 3 : 1.5));
  });
  traces.push({
    x: [knee.n], y: [knee.captured], mode: "markers", name: "knee", hoverinfo: "skip", showlegend: false,
    marker: { symbol: "diamond", size: 12, color: theme.colour("picks"), line: { color: theme.colour("ground"), width: 2 } },
  });
  const label = {
    x: knee.n, y: knee.captured, text: `<b>${counted(knee.n, "row")}</b>${narrow || knee.n === size ? "" : ": the curve bends here"}`, showarrow: false,
    // Beside a concave curve there is room above to the left, if the knee is not at the edge.
    ...(knee.n > 0.3 * most
      ? { xanchor: "right", yanchor: "bottom", xshift: -10, yshift: 6 }
      : { xanchor: "left", yanchor: "top", xshift: 12, yshift: -8 }),
    borderpad: 2, bgcolor: `${theme.colour("ground")}d9`, font: { color: theme.colour("ink") },
  };
  const about = `Captured energy against number of picks: ${percent(curve.captured.at(-1))} at ${counted(size, "pick")}, ` +
    `random ${percent(random.mean.at(-1))}; the curve bends at ${count(knee.n)}.`;
  draw(node, traces, {
    hovermode: "x unified",
    annotations: [label],
    xaxis: { title: { text: "picks" }, rangemode: "tozero", tickformat: ",d", ...(most < 6 && { dtick: 1 }) }, // half a pick is none
    yaxis: { title: { text: narrow ? "" : "captured energy" }, tickformat: "~%", rangemode: "tozero" },
  }, about);
}

const REDRAWN = 2; // the trace of the pinned row

function drawMap(node, data, selection, webgl) {
  const { x, y } = data.map;
  const type = webgl ? "scattergl" : "scatter";
  const picked = new Set(selection.picks);
  const pool = x.map((_, row) => row).filter((row) => !picked.has(row));
  const picks = selection.picks.map((row, rank) => [row, rank]).filter(([row]) => row >= 0).reverse();
  const dot = pool.length > 10000 ? 3 : pool.length > 1500 ? 4 : 6;
  const at = (rows) => ({ x: rows.map((row) => x[row]), y: rows.map((row) => y[row]) });
  const rows = picks.map(([row]) => row);
  const ends = [1, selection.size];
  const bar = {
    orientation: "h", thickness: 10, len: 0.45, x: 1, xanchor: "right", y: 1, yanchor: "bottom", outlinewidth: 0,
    xpad: 32, // Plotly hides a label for which there is no room beside the bar
    tickvals: ends, ticktext: ends.map(count), title: { text: "rank", side: "top", font: { size: 13 } },
  };
  const traces = [
    { type, mode: "markers", ...at(pool), customdata: pool, name: "pool", marker: { size: dot, color: theme.colour("pool"), opacity: 0.75 } },
    {
      type, mode: "markers", ...at(rows), customdata: rows, name: "picks",
      marker: {
        size: dot + 4, color: picks.map(([, rank]) => rank + 1), colorscale: rankScale(), cmin: 1, cmax: selection.size,
        showscale: true, colorbar: bar, line: { width: 1, color: theme.colour("ground") },
      },
    },
    { type: "scatter", mode: "markers", x: [], y: [], hoverinfo: "skip", marker: { size: dot + 14, symbol: "circle-open", color: theme.colour("ink"), line: { width: 3 } } },
  ];
  const hidden = { showgrid: false, showticklabels: false, ticks: "" };
  const about = `Map of ${counted(x.length, "row")}, among them ${counted(rows.length, "pick")}. The table of rows below lists the same.`;
  return draw(node, traces.map((trace) => ({ hoverinfo: "none", ...trace })), {
    dragmode: selection.drag ?? "zoom", showlegend: false, hovermode: "closest", margin: { l: 0, r: 0, t: 50, b: 0 },
    xaxis: hidden, yaxis: hidden,
  }, about);
}

/** Rings the row, and dims everything but `chosen` (a set of rows, or null for all). */
function markMap(node, data, row, chosen) {
  if (!node.data) return;
  const ring = row === null ? { x: [[]], y: [[]] } : { x: [[data.map.x[row]]], y: [[data.map.y[row]]] };
  Plotly.restyle(node, ring, [REDRAWN]);
  const points = [0, 1].map((trace) => chosen && [...node.data[trace].customdata.keys()].filter((at) => chosen.has(node.data[trace].customdata[at])));
  Plotly.restyle(node, { selectedpoints: points, "unselected.marker.opacity": 0.12 }, [0, 1]);
}

const lastBar = (figure) => (figure.tail === null ? "" : `last bar: ${short(figure.tail)} and more`);

/** Pool as wide bars, picks as narrow ones, random as dashes across. */
function drawBars(node, figure, title, about) {
  const { at, width, shares } = figure;
  const apart = width > (at.at(-1) - at[0]) / 30; // else labels of a tick for each value overlap
  const bars = (name, share) => ({
    type: "bar", name, x: at, y: shares[name], width: width * share, hovertemplate: `${name} %{y:.1%}<extra></extra>`,
    marker: { color: theme.colour(name) },
  });
  const traces = [];
  if (shares.pool) traces.push(bars("pool", 0.92));
  traces.push(bars("picks", shares.pool ? 0.42 : 0.92), {
    mode: "markers", name: "random", x: at, y: shares.random, hovertemplate: "random %{y:.1%}<extra></extra>",
    marker: { symbol: "line-ew", size: Math.min(26, 0.75 * node.clientWidth / (at.length + 2)), line: { width: 3, color: theme.colour("random") } },
  });
  const ticks = figure.distinct && apart && at.length > 1 ? { tickvals: at } : {};
  draw(node, traces, { showlegend: false, xaxis: { ...ticks, showgrid: false, title: { text: title } }, yaxis: { tickformat: ".0%", nticks: 4 } }, about);
}

const GROUPS_SHOWN = 20;

function drawGroups(node, group) {
  const labels = group.labels.slice(0, GROUPS_SHOWN);
  const y = labels.map((_, at) => -at);
  const bars = (name, width) => ({
    type: "bar", orientation: "h", name, y, x: group[name].slice(0, GROUPS_SHOWN), width,
    hovertemplate: `${name} %{x:.1%}<extra></extra>`, marker: { color: theme.colour(name) },
  });
  node.style.height = `${labels.length * 26 + 60}px`;
  draw(node, [
    bars("pool", 0.82), bars("picks", 0.36),
    {
      mode: "markers", name: "random", y, x: group.random.slice(0, GROUPS_SHOWN), hovertemplate: "random %{x:.1%}<extra></extra>",
      marker: { symbol: "line-ns", size: 16, line: { width: 3, color: theme.colour("random") } },
    },
  ], {
    showlegend: false,
    xaxis: { tickformat: "~%", rangemode: "tozero" },
    yaxis: { tickvals: y, ticktext: labels.map((label) => plain(cut(label, 24))), showgrid: false, tickfont: { color: theme.colour("ink") } },
  }, `Shares of ${group.field} in pool, picks and random rows.`);
}
