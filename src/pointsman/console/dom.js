// Nodes for the page. All that comes from the API goes in as text, never as markup: the names of models,
// routes and findings are other people's.

const SVG = "http://www.w3.org/2000/svg";
const MAX_CHARS = 2000;
const fillings = new WeakMap();
// Characters that cannot be seen, or turn the order of others about.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}]/gu;

/** Give a text as it can be shown: cut, and with each unseen character written out. */
export function plain(value) {
  const text = String(value ?? "");
  const cut = text.length > MAX_CHARS ? `${text.slice(0, MAX_CHARS)}…` : text;
  return cut.replace(HIDDEN, (c) => (c === "\n" ? c : `\\u{${c.codePointAt(0).toString(16)}}`));
}

function made(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined)
    .map((each) => (each instanceof Node ? each : plain(each))));
  return node;
}

/** Give an element. An attribute that is a function listens to the event of that name. */
export function el(tag, attributes, ...children) {
  return made(document.createElement(tag), attributes, children);
}

/** Give an element of an SVG. */
export function svg(tag, attributes, ...children) {
  return made(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * Give a table. A column is `{label, number, head}`, a row an array of cells (texts or nodes) or
 * `{cells, mark}`, mark saying in a word why the row stands out. `stack` shows a row as a card where the
 * page is narrow.
 */
export function table(caption, columns, rows, { stack = false } = {}) {
  const head = columns.map((column) =>
    el("th", { role: "columnheader", scope: "col", class: column.number && "number" }, column.label));
  const body = rows.map((row) => {
    const { cells, mark } = Array.isArray(row) ? { cells: row } : row;
    return el("tr", { role: "row", class: mark && "marked" }, cells.map((cell, place) => {
      const column = columns[place];
      return el(column.head ? "th" : "td", {
        role: column.head ? "rowheader" : "cell",
        scope: column.head && "row",
        class: column.number && "number",
        "data-label": column.label,
      }, cell, column.head && mark ? [" ", el("span", { class: "mark" }, mark)] : null);
    }));
  });
  // The roles are said again: a table whose display is changed loses its own.
  const made = el("table", { role: "table", class: stack && "stack" },
    el("caption", null, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
    el("tbody", { role: "rowgroup" }, body));
  return el("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" }, made);
}

/** Fill a node with what `work` gives, once it is there, or with why it is not; the last call counts. */
export async function fill(node, work) {
  const own = {};
  fillings.set(node, own);
  node.setAttribute("aria-busy", "true");
  if (!node.hasChildNodes()) node.append(el("p", { class: "quiet" }, "Loading…"));
  let found;
  try {
    found = [await work()].flat(Infinity).filter(Boolean);
  } catch (error) {
    found = [el("p", { class: "wrong", role: "alert" }, error.message)];
  }
  if (fillings.get(node) !== own) return;
  node.replaceChildren(...found);
  node.removeAttribute("aria-busy");
}

/** Give a section with a heading whose content `work` gives. */
export function section(title, work) {
  const content = el("div");
  fill(content, work);
  return el("section", null, el("h2", null, title), content);
}

/** Say something that happened to who reads and to who listens. */
export function say(text) {
  document.getElementById("said").textContent = plain(text);
}

/** Ask for a line of text; null if it is not given. */
export function askLine({ title, text, label, button, ...input }) {
  return new Promise((resolve) => {
    const field = el("input", { id: "asked", autocomplete: "off", spellcheck: "false", ...input });
    const dialog = el("dialog", { "aria-labelledby": "asked-title" },
      el("form", {
        submit: (event) => {
          event.preventDefault();
          dialog.close(field.value.trim());
        },
      },
      el("h2", { id: "asked-title" }, title),
      el("p", null, text),
      el("label", { for: "asked" }, label),
      field,
      el("p", { class: "row" },
        el("button", { type: "submit", class: "main" }, button),
        el("button", { type: "button", click: () => dialog.close("") }, "Cancel"))));
    // Closed by the Escape key it has no value.
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
