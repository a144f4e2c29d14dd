// The curve of quality against cost, drawn at the width that there is.

import { el, plain, svg } from "./dom.js";
import { percent, steps, usd } from "./format.js";

const LEFT = 52;
const RIGHT = 18;
const TOP = 14;
const BOTTOM = 46;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
// Costs are shown per so many requests.
export const PER = 1000;

/**
 * Give the chart of a curve: `node`, and `look(place)`, which marks a level. `now` is the place of the
 * level where the route is set.
 */
export function chart(curve, now) {
  const holder = el("div", { class: "chart" });
  const singles = Object.entries(curve.singles).map(([ref, [quality, cost]], place) => ({
    ref, quality, cost, letter: LETTERS[place % 26] + (place < 26 ? "" : Math.floor(place / 26)),
  }));
  let looked = now;
  let width = 0;
  const draw = () => {
    holder.replaceChildren(drawn(curve, singles, now, looked, width));
  };
  // Text in an SVG that is scaled down cannot be read, so it is drawn anew for each width.
  new ResizeObserver(([entry]) => {
    const found = Math.max(Math.floor(entry.contentRect.width), 260);
    if (found !== width) {
      width = found;
      draw();
    }
  }).observe(holder);
  const look = (place) => {
    looked = place;
    if (width) draw();
  };
  return { node: el("figure", null, holder, legend(singles)), look };
}

function drawn(curve, singles, now, looked, width) {
  const height = Math.round(Math.min(Math.max(width * 0.55, 240), 380));
  const { levels } = curve;
  const qualities = [
    ...levels.flatMap((each) => [each.quality_low, each.quality_high]),
    ...singles.flatMap((each) => [each.quality.mean]),
  ];
  const costs = [...levels.map((each) => each.cost_high_usd), ...singles.map((each) => each.cost)];
  const ys = steps(Math.min(...qualities), Math.max(...qualities), 5);
  const xs = steps(0, (Math.max(...costs) || 0.001) * PER, width < 480 ? 3 : 6);
  const x = scaled(0, xs.at(-1) / PER, LEFT, width - RIGHT);
  const y = scaled(ys[0], ys.at(-1), height - BOTTOM, TOP);
  const first = levels[0];
  const last = levels.at(-1);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-labelledby": "curve-title" },
    svg("title", { id: "curve-title" },
      `Expected quality against cost: from ${percent(first.quality)} at ${usd(first.cost_usd * PER)} to `
      + `${percent(last.quality)} at ${usd(last.cost_usd * PER)} per ${PER} requests. The table below has the numbers.`),
    axes(xs, ys, x, y, width, height),
    svg("path", { class: "band", d: outline(levels, x, y) }),
    svg("path", { class: "line", d: path(levels.map((each) => [x(each.cost_usd), y(each.quality)])) }),
    levels.map((each) => svg("circle", { class: "level", cx: x(each.cost_usd), cy: y(each.quality), r: 2.5 })),
    singles.map((each) => single(each, x(each.cost), y(each.quality.mean), width)),
    svg("circle", { class: "now", cx: x(levels[now].cost_usd), cy: y(levels[now].quality), r: 5.5 }),
    cross(levels[looked], x, y));
}

function scaled(low, high, from, to) {
  const span = high - low || 1;
  return (value) => Math.round((from + ((value - low) / span) * (to - from)) * 10) / 10;
}

function path(points) {
  return points.map(([px, py], place) => `${place ? "L" : "M"}${px} ${py}`).join("");
}

function outline(levels, x, y) {
  const above = levels.map((each) => [x(each.cost_usd), y(each.quality_high)]);
  const below = levels.map((each) => [x(each.cost_usd), y(each.quality_low)]).reverse();
  return `${path([...above, ...below])}Z`;
}

function axes(xs, ys, x, y, width, height) {
  const floor = height - BOTTOM;
  const digits = ys[1] - ys[0] < 0.01 ? 1 : 0;
  return svg("g", { class: "axes" },
    ys.map((at) => [
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(at), y2: y(at) }),
      svg("text", { x: LEFT - 6, y: y(at) + 4, "text-anchor": "end" }, percent(at, digits)),
    ]),
    xs.map((at) => [
      svg("line", { x1: x(at / PER), x2: x(at / PER), y1: floor, y2: floor + 4 }),
      svg("text", { x: x(at / PER), y: floor + 18, "text-anchor": "middle" }, usd(at)),
    ]),
    svg("text", { x: (LEFT + width - RIGHT) / 2, y: height - 6, "text-anchor": "middle" },
      `Mean cost of ${PER.toLocaleString("en")} requests`));
}

function single({ letter, quality }, cx, cy, width) {
  // Beside the mark, on the side where there is room.
  const right = cx < width - 60;
  return svg("g", { class: "single" },
    svg("path", { d: `M${cx} ${cy - 6}L${cx + 6} ${cy}L${cx} ${cy + 6}L${cx - 6} ${cy}Z` }),
    svg("text", { x: cx + (right ? 10 : -10), y: cy + (quality.mean > 0.5 ? 15 : -6), "text-anchor": right ? "start" : "end" }, letter));
}

/** The level that is looked at, with its bands of quality and of cost. */
function cross(level, x, y) {
  const cx = x(level.cost_usd);
  const cy = y(level.quality);
  return svg("g", { class: "looked" },
    svg("line", { x1: cx, x2: cx, y1: y(level.quality_low), y2: y(level.quality_high) }),
    svg("line", { x1: x(level.cost_low_usd), x2: x(level.cost_high_usd), y1: cy, y2: cy }),
    svg("circle", { cx, cy, r: 8 }));
}

function legend(singles) {
  const key = (kind, text) =>
    el("li", null, svg("svg", { width: 26, height: 14, "aria-hidden": "true" }, kind), " ", text);
  const diamond = svg("g", { class: "single" }, svg("path", { d: "M13 1L19 7L13 13L7 7Z" }));
  return el("figcaption", null, el("ul", { class: "legend" },
    key([svg("rect", { class: "band", width: 26, height: 14 }), svg("path", { class: "line", d: "M0 7H26" })],
      "expected quality at each setting, with its 95 % band"),
    key(svg("circle", { class: "now", cx: 13, cy: 7, r: 5.5 }), "set now"),
    key(svg("g", { class: "looked" }, svg("circle", { cx: 13, cy: 7, r: 6 })), "looked at, with both bands"),
    singles.map(({ letter, ref, quality, cost }, place) =>
      key(place ? diamond.cloneNode(true) : diamond,
        [el("strong", null, letter), ` ${plain(ref)} always: ${percent(quality.mean)} at ${usd(cost * PER)}`]))));
}
