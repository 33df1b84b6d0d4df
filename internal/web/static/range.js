// The range of a view, in the URL and in the bar that changes it.

import { segments } from "./charts.js";
import { h, put, setText } from "./dom.js";
import { t } from "./i18n.js";
import { inputValue, rangeText, unwall } from "./time.js";

/**
 * @typedef {object} Chosen
 * @property {number} from
 * @property {number} to
 * @property {number} last how long before now it begins if it moves with the clock, else 0
 */

const hour = 3_600_000, day = 24 * hour;
const presets = /** @type {[string, number][]} */ ([["1h", hour], ["24h", day], ["7d", 7 * day], ["30d", 30 * day], ["1y", 365 * day]]);

/**
 * The range that an address names.
 * @param {URLSearchParams} params
 * @param {string} [fallback]
 * @returns {Chosen}
 */
export function rangeOf(params, fallback = "24h") {
  const from = Date.parse(params.get("from") ?? ""), to = Date.parse(params.get("to") ?? "");
  if (from < to) return { from, to, last: 0 };
  const last = lengthOf(params.get("last") ?? "") || lengthOf(fallback);
  const now = Date.now();
  return { from: now - last, to: now, last };
}

/** @param {string} text like 90min, 24h, 7d or 1y */
function lengthOf(text) {
  const m = /^(\d{1,6})(min|h|d|y)$/.exec(text);
  const length = m ? Number(m[1]) * { min: 60_000, h: hour, d: day, y: 365 * day }[/** @type {"min" | "h" | "d" | "y"} */ (m[2])] : 0;
  return Math.min(length, 366 * day);
}

/**
 * The query with another range.
 * @param {URLSearchParams} params
 * @param {Chosen} range
 */
export function writeRange(params, range) {
  const next = new URLSearchParams(params);
  for (const name of ["from", "to", "last"]) next.delete(name);
  if (range.last) next.set("last", presets.find(([, length]) => Math.abs(length - range.last) < 1000)?.[0] ?? Math.max(1, Math.round(range.last / 60_000)) + "min");
  else {
    next.set("from", new Date(range.from).toISOString().slice(0, 19) + "Z");
    next.set("to", new Date(range.to).toISOString().slice(0, 19) + "Z");
  }
  return next;
}

/**
 * @param {object} on
 * @param {string} on.zone
 * @param {(range: Chosen) => void} on.pick
 * @param {(share: number) => void} [on.pan]
 * @param {(factor: number) => void} [on.zoom]
 */
export function rangeBar({ zone, pick, pan, zoom }) {
  const choice = segments(t("range.label"), presets.map(([name]) => [name, t("range." + name)]), "", (name) => {
    const last = lengthOf(name);
    pick({ from: Date.now() - last, to: Date.now(), last });
  });
  const text = h("p", { class: "range-text" });
  const from = h("input", { type: "datetime-local", required: true, "aria-label": t("range.from") });
  const to = h("input", { type: "datetime-local", required: true, "aria-label": t("range.to") });
  const error = h("p", { class: "error", role: "alert" });
  /**
   * @param {string} sign
   * @param {string} label
   * @param {() => void} onclick
   */
  const button = (sign, label, onclick) => h("button", { type: "button", class: "icon", "aria-label": t(label), title: t(label), onclick }, h("span", { "aria-hidden": "true" }, sign));
  const custom = h("details", { class: "custom" }, h("summary", {}, text), h("form", {
    class: "panel", onsubmit(/** @type {Event} */ event) {
      event.preventDefault();
      const range = { from: unwall(Date.parse(from.value + "Z"), zone), to: unwall(Date.parse(to.value + "Z"), zone), last: 0 };
      put(error, range.from < range.to ? "" : t("range.wrong"));
      if (!(range.from < range.to)) return;
      custom.removeAttribute("open");
      pick(range);
    },
  }, h("label", {}, t("range.from"), from), h("label", {}, t("range.to"), to), error, h("button", { class: "primary" }, t("range.show"))));
  return {
    element: h("div", { class: "range" }, choice.element, custom, h("span", { class: "zone quiet" }, zone.replaceAll("_", " ")),
      pan && zoom && h("div", { class: "steps", role: "group", "aria-label": t("range.move") },
        button("‹", "range.earlier", () => pan(-0.5)), button("›", "range.later", () => pan(0.5)),
        button("+", "range.closer", () => zoom(0.5)), button("−", "range.further", () => zoom(2)))),
    /** @param {Chosen} range */
    set(range) {
      const to_ = range.last ? Math.min(range.to, Date.now()) : range.to;
      setText(text, rangeText(range.from, to_, zone));
      choice.set(range.last ? presets.find(([, length]) => Math.abs(length - range.last) < 1000)?.[0] ?? "" : "");
      if (!custom.hasAttribute("open")) {
        from.value = inputValue(range.from, zone);
        to.value = inputValue(to_, zone);
      }
    },
  };
}
