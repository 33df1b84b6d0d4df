// The axis of the timeline, its line at now, and the hatching of unknown time.

import { s } from "./dom.js";
import { position } from "./lanes.js";
import { ticks } from "./time.js";

/** @typedef {import("./lanes.js").Scale} Scale */

export function hatching() {
  return s("defs", {}, s("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("rect", { class: "hatch", width: 1.5, height: 6 })));
}

/**
 * @param {Scale} scale
 * @param {number} top
 * @param {number} bottom
 * @param {string} zone
 * @returns {Element[]}
 */
export function axis(scale, top, bottom, zone) {
  const right = scale.x + scale.width;
  const list = ticks(scale.from, scale.to, Math.max(3, Math.floor(scale.width / 80)), zone)
    .map((tick) => ({ ...tick, x: Math.round(position(tick.at, scale)) + 0.5 }));
  let free = 0; // where the next label may begin
  return list.map(({ x, label, major }, i) => {
    const end = x + 4 + label.length * (major ? 6.8 : 6.2);
    const next = list[i + 1];
    // A day's name is more important than the hour beside it.
    const fits = x >= free && end <= right && !(!major && next?.major && end > next.x);
    if (fits) free = end;
    return s("g", { class: major ? "tick major" : "tick" }, s("line", { x1: x, x2: x, y1: top, y2: bottom }), fits && s("text", { x: x + 4, y: 14 }, label));
  });
}

/**
 * @param {Scale} scale
 * @param {number} top
 * @param {number} bottom
 */
export function nowLine(scale, top, bottom) {
  const now = Date.now();
  if (now < scale.from || now > scale.to) return null;
  const x = Math.round(position(now, scale)) + 0.5;
  return s("line", { class: "now-line", x1: x, x2: x, y1: top, y2: bottom });
}
