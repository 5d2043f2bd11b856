"use strict";
// What every part needs. A dataset's text reaches the page as text nodes only.

/** An element; `props` are properties, or attributes where their names have a dash. */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-")) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const byId = (id) => document.getElementById(id);

async function unpack(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const count = (number) => number.toLocaleString("en-US");
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const signed = (number, digits = 2) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;
const short = (number) => {
  if (number === null) return "–";
  const size = Math.abs(number);
  return size >= 1e12 ? number.toExponential(2) : size >= 1000 ? count(Math.round(number)) : String(+number.toPrecision(3));
};
/** Both never cut a character that JavaScript keeps as two. */
const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, "")}…` : text);
/** A path's end, where its name is. */
const end = (path, length) => (path.length > length ? `…${path.slice(1 - length).replace(/^[\udc00-\udfff]/, "")}` : path);

/** Plotly reads <b>, <a> and entities in labels; this keeps a dataset's text what it is. */
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const theme = {
  dark: () => document.documentElement.dataset.theme === "dark",
  colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(),
  set(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light" : "Dark";
  },
};
