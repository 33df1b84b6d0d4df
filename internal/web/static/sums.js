// Sums over the range of a contact or an instance: totals, bars, the week by hours, habits.

import { get, latest, retry } from "./api.js";
import { bars, habitCells, heatCells, measureChoice, totals, week } from "./charts.js";
import { h, put } from "./dom.js";
import { phoneText, t } from "./i18n.js";
import { habitText } from "./habits.js";
import { rangeQuery, rangeText } from "./time.js";

const day = 86_400_000;

/**
 * @param {object} of
 * @param {string} of.instance
 * @param {string[]} of.phones none: the whole instance
 * @param {string} of.zone
 */
export function sums({ instance, phones, zone }) {
  /** @type {import("./lanes.js").Measure} */
  let measure = "inChat";
  let range = { from: 0, to: 0 };
  const requests = { totals: latest(), week: latest(), habits: latest() };
  const single = phones.length < 2;
  const base = ["instances", instance, ...(phones.length === 1 ? ["contacts", phones[0]] : [])];
  const totalBox = h("div"), barBox = h("div", { class: "chart" }), weekBox = h("div"), habitBox = h("div");
  const barTitle = h("h2", {}, t("bars.title")), weekNote = h("span", { class: "quiet" });
  const choice = measureChoice((m) => {
    measure = m;
    drawBars();
    loadWeek();
  });
  /** @type {{buckets: any[], bucket: string}} */
  let shown = { buckets: [], bucket: "day" };

  const element = h("div", { class: "sums" },
    h("section", { class: "card" }, h("h2", {}, t("total.title")), totalBox),
    single && h("section", { class: "card" }, h("div", { class: "head" }, barTitle, choice.element), barBox,
      h("div", { class: "head" }, h("h2", {}, t("week.title")), weekNote), weekBox, habitBox));

  function drawBars() {
    put(barTitle, t("bars." + shown.bucket));
    const open = barBox.querySelector("details[open]") !== null;
    put(barBox, bars(shown.buckets, measure, shown.bucket, zone, barBox.clientWidth || 320, phones.length === 0));
    if (open) barBox.querySelector("details")?.setAttribute("open", "");
  }
  let drawnWidth = 0;
  const observer = new ResizeObserver(() => {
    if (Math.abs(barBox.clientWidth - drawnWidth) < 2 || shown.buckets.length === 0) return;
    drawnWidth = barBox.clientWidth;
    drawBars();
  });
  observer.observe(barBox);

  /** The range for the week by hours: at least four weeks, so that there is enough to see. */
  function weekRange() {
    const to = Math.min(range.to, Date.now());
    return { from: Math.min(range.from, to - 28 * day), to };
  }

  /** @param {{from: number, to: number}} r */
  function query(r) {
    return { ...rangeQuery(r), tz: zone };
  }

  async function loadWeek() {
    const signal = requests.week.next(), of = measure;
    const r = weekRange();
    put(weekNote, rangeText(r.from, r.to, zone));
    try {
      const map = await get([...base, "heatmap"], { ...query(r), measure: of }, signal);
      put(weekBox, week(heatCells(map.cells), of, t("week.title")));
    } catch (e) {
      if (signal.aborted) return;
      put(weekBox);
      retry(e, signal, loadWeek);
    }
  }

  async function loadHabits() {
    if (phones.length !== 1) return;
    const signal = requests.habits.next();
    try {
      const habits = await get([...base, "habits"], query(weekRange()), signal);
      put(habitBox, h("h2", {}, t("habits.title")), h("p", { class: "habit" }, habitText(habits.cells)),
        h("details", {}, h("summary", {}, t("habits.details", { n: habits.weeks })), week(habitCells(habits.cells), "inChat", t("habits.title"))));
    } catch (e) {
      if (signal.aborted) return;
      put(habitBox);
      retry(e, signal, loadHabits);
    }
  }

  async function loadTotals() {
    const signal = requests.totals.next();
    const bucket = bucketFor(range);
    try {
      if (!single) {
        const found = await get([...base, "compare"], { ...rangeQuery(range), phone: phones }, signal);
        put(totalBox, totals(found.contacts.map((/** @type {any} */ c) => ({ label: phoneText(c.phone), total: c }))));
        return;
      }
      const found = await get([...base, "durations"], { ...query(range), bucket }, signal);
      put(totalBox, totals([{ label: "", total: found.total }]));
      shown = { buckets: found.buckets, bucket };
      drawBars();
    } catch (e) {
      if (signal.aborted) return;
      put(totalBox, h("p", { class: "error" }, e instanceof Error ? e.message : ""));
      retry(e, signal, loadTotals);
    }
  }

  return {
    element,
    /** @param {{from: number, to: number}} next */
    load(next) {
      range = next;
      loadTotals();
      if (!single) return;
      loadWeek();
      loadHabits();
    },
    /**
     * Follows a range that the clock moves: reads totals and bars again, unless the focus is in them, and the weeks once a day.
     * @param {{from: number, to: number}} next
     */
    refresh(next) {
      range = next;
      if (![totalBox, barBox].some((box) => box.contains(document.activeElement))) loadTotals();
      const r = weekRange();
      if (!single || weekNote.textContent === rangeText(r.from, r.to, zone)) return;
      loadWeek();
      loadHabits();
    },
    close() {
      for (const one of Object.values(requests)) one.stop();
      observer.disconnect();
    },
  };
}

/** @param {{from: number, to: number}} range */
function bucketFor({ from, to }) {
  const days = (Math.min(to, Date.now()) - from) / day;
  if (days <= 3) return "hour";
  if (days <= 92) return "day";
  return days <= 400 ? "week" : "month";
}
