// Charts: bars by day, the week by hours, totals. Each also has its numbers as text or as a table.

import { h, put, s } from "./dom.js";
import { duration, number, percent, t } from "./i18n.js";
import { dayText, hourText, rangeText, weekdays } from "./time.js";

/** @typedef {import("./lanes.js").Measure} Measure */

/**
 * A row of buttons, one of them pressed.
 * @param {string} label
 * @param {[string, string][]} options value and text
 * @param {string} current
 * @param {(value: string) => void} onchange
 */
export function segments(label, options, current, onchange) {
  const element = h("div", { class: "segments", role: "group", "aria-label": label });
  const draw = (/** @type {string} */ now) => {
    for (const b of element.children) b.setAttribute("aria-pressed", String(b.getAttribute("data-value") === now));
  };
  put(element, options.map(([value, text]) => h("button", {
    type: "button", "data-value": value, onclick: () => {
      draw(value);
      onchange(value);
    },
  }, text)));
  draw(current);
  return { element, set: draw };
}

/**
 * The legend of a chart.
 * @param {string[]} names
 * @param {string} [measure]
 */
export function legend(names, measure = "inChat") {
  return h("ul", { class: "legend" }, names.map((name) => h("li", {}, h("span", { class: `key ${name} ${measure}`, "aria-hidden": "true" }), t("legend." + name))));
}

/** @param {(measure: Measure) => void} onchange */
export function measureChoice(onchange) {
  return segments(t("measure.label"), ["inChat", "typing", "recording"].map((m) => [m, t("measure." + m)]), "inChat",
    (value) => onchange(/** @type {Measure} */ (value)));
}

/**
 * Bars of a calendar's buckets: confirmed time solid, the rest lighter on top.
 * @param {{start: string, end: string, [measure: string]: any}[]} buckets
 * @param {Measure} measure
 * @param {string} bucket hour, day, week or month
 * @param {string} zone
 * @param {number} width pixels
 * @param {boolean} together the bars are of all contacts of an instance
 */
export function bars(buckets, measure, bucket, zone, width, together) {
  const height = 190, base = height - 24;
  const most = Math.max(1, ...buckets.map((b) => b[measure].seconds));
  const step = width / Math.max(1, buckets.length);
  const w = Math.max(1, Math.min(56, step - Math.min(6, step * 0.25)));
  const every = Math.max(1, Math.ceil((buckets.length * 84) / width));
  /** @param {{start: string, end: string}} b */
  const name = (b) => (bucket === "day" ? dayText(b.start, zone) : rangeText(Date.parse(b.start), Date.parse(b.end), zone));
  const svg = s("svg", { width, height, class: "bars", role: "img", "aria-label": t("bars.label", { measure: t("measure." + measure) }) },
    s("line", { class: "base", x1: 0, x2: width, y1: base + 0.5, y2: base + 0.5 }),
    buckets.map((b, i) => {
      const d = b[measure];
      const all = (d.seconds / most) * (base - 4), sure = (d.confirmedSeconds / most) * (base - 4);
      const x = i * step + (step - w) / 2;
      return s("g", {}, s("title", {}, `${name(b)}: ${duration(d.seconds)} (${t("times", { n: d.count })})`),
        s("rect", { class: "hit", x: i * step, y: 0, width: step, height: base }),
        s("rect", { class: "unsure " + measure, x, y: base - all, width: w, height: all, rx: Math.min(3, w / 2) }),
        s("rect", { class: "sure " + measure, x, y: base - sure, width: w, height: sure, rx: sure >= all - 1 ? Math.min(3, w / 2) : 0 }),
        i % every === 0 && x + 70 < width && s("text", { x, y: height - 5 }, bucket === "hour" ? hourText(b.start, zone) : dayText(b.start, zone)));
    }));
  return [h("p", { class: "most quiet" }, t(together ? "bars.mostTogether" : "bars.most", { length: duration(most > 1 ? most : 0) })), svg,
    legend(["sure", "unsure"], measure), barTable(buckets, measure, name)];
}

/**
 * The numbers of the bars.
 * @param {{start: string, end: string, [measure: string]: any}[]} buckets
 * @param {Measure} measure
 * @param {(b: {start: string, end: string}) => string} name
 */
function barTable(buckets, measure, name) {
  return h("details", {}, h("summary", {}, t("asTable")), h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": t("asTable") },
    h("table", { class: "list small" },
      h("thead", {}, h("tr", {}, ["bars.when", "total.count", "total.length", "total.confirmed"].map((n) => h("th", { scope: "col" }, t(n))))),
      h("tbody", {}, buckets.map((b) => h("tr", {}, h("th", { scope: "row" }, name(b)), h("td", { class: "num" }, number(b[measure].count)),
        h("td", { class: "num" }, duration(b[measure].seconds)), h("td", { class: "num" }, duration(b[measure].confirmedSeconds))))))));
}

/**
 * The week by hours, as a table with shaded cells.
 * @param {{weekday: number, hour: number, share: number, text: string}[]} cells share from 0 to 1
 * @param {Measure} measure
 * @param {string} caption
 */
export function week(cells, measure, caption) {
  const long = weekdays("long"), short = weekdays("short");
  const grid = long.map(() => Array(24).fill(null));
  for (const c of cells) grid[c.weekday - 1][c.hour] = c;
  const tip = h("p", { class: "week-tip quiet", "aria-hidden": "true" }, t("week.hint"));
  /** @param {any} event */
  const show = (event) => {
    const text = event.target.closest("td")?.dataset.text;
    if (text) put(tip, text);
  };
  /** @param {any} event */
  const move = (event) => {
    const [dx, dy] = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] })[event.key] ?? [];
    const cell = event.target.closest("td");
    if (dx === undefined || !cell) return;
    event.preventDefault();
    const row = cell.parentElement.sectionRowIndex + dy, column = cell.cellIndex + dx;
    const next = table.tBodies[0].rows[row]?.cells[column];
    if (next?.tagName !== "TD") return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
  const table = h("table", { class: "week " + measure, onpointerover: show, onfocusin: show, onkeydown: move },
    h("caption", { class: "sr" }, caption),
    h("thead", {}, h("tr", {}, h("td"), [...Array(24).keys()].map((hour) => h("th", { scope: "col", class: hour % 3 ? "minor" : "" },
      String(hour).padStart(2, "0"))))),
    h("tbody", {}, grid.map((row, day) => h("tr", {}, h("th", { scope: "row" }, h("abbr", { title: long[day] }, short[day])), row.map((cell, hour) => {
      const text = `${long[day]} ${String(hour).padStart(2, "0")}–${String(hour + 1).padStart(2, "0")}: ${cell?.text ?? "–"}`;
      const td = h("td", { tabindex: day === 0 && hour === 0 ? 0 : -1, "data-text": text }, h("span", { class: "sr" }, cell?.text ?? "–"));
      td.style.setProperty("--share", String(cell ? Math.round(cell.share * 1000) / 1000 : 0));
      if (cell?.share > 0) td.className = "some";
      return td;
    })))));
  return h("div", { class: "week-box" }, h("div", { class: "scroll week-scroll" }, table), tip);
}

/**
 * The cells of a heat map, in proportion to the largest.
 * @param {{weekday: number, hour: number, seconds: number}[]} cells
 */
export function heatCells(cells) {
  const most = Math.max(1, ...cells.map((c) => c.seconds));
  return cells.map((c) => ({ ...c, share: c.seconds / most, text: duration(c.seconds) }));
}

/**
 * The cells of habits: the share of weeks in which the contact was in the chat.
 * @param {{weekday: number, hour: number, share: number}[]} cells
 */
export function habitCells(cells) {
  return cells.map((c) => ({ ...c, text: percent(c.share) }));
}

/**
 * Totals, a row for each measure.
 * @param {{label: string, total: Record<string, any>}[]} contacts
 */
export function totals(contacts) {
  const columns = ["count", "seconds", "confirmedSeconds", "meanSeconds", "medianSeconds", "p90Seconds", "maxSeconds"];
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("total.title") }, h("table", { class: "list totals" },
    h("caption", { class: "sr" }, t("total.title")),
    h("thead", {}, h("tr", {}, h("td"), columns.map((c) => h("th", { scope: "col" }, t("total." + c))))),
    contacts.map(({ label, total }) => h("tbody", {},
      contacts.length > 1 && h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: columns.length + 1 }, h("bdi", {}, label))),
      ["inChat", "typing", "recording"].map((m) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: "swatch " + m, "aria-hidden": "true" }), t("measure." + m)),
        columns.map((c) => h("td", { class: "num" }, c === "count" ? number(total[m][c]) : duration(total[m][c])))))))));
}
