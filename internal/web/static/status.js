// Status: the state of the service.

import { get } from "./api.js";
import { h, put, setText } from "./dom.js";
import { duration, number, t } from "./i18n.js";
import { dateTime } from "./time.js";

const every = 2000;
const upToDate = 60; // seconds: background work stays 20 to 30 behind on purpose

/**
 * @param {import("./app.js").Context} context
 * @returns {import("./app.js").View}
 */
export function statusView({ title, zone }) {
  title(t("nav.status"));
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const facts = h("dl", { class: "facts" });
  const instances = h("tbody");
  const refusals = h("div");
  /** @type {{at: number, received: number}[]} */
  const seen = [];
  let startedAt = "", drawn = "";
  /** @param {any} s */
  function draw(s) {
    if (startedAt !== s.startedAt) seen.length = 0; // another process, which counts for itself
    startedAt = s.startedAt;
    seen.push({ at: Date.parse(s.now), received: s.events.received });
    if (seen.length > 16) seen.shift();
    // The rate since the first response; at first since the start.
    const first = seen.length > 1 ? seen[0] : { at: Date.parse(s.startedAt), received: 0 }, last = seen[seen.length - 1];
    const rate = (last.received - first.received) / Math.max(1, (last.at - first.at) / 1000);
    put(facts, [
      fact("status.database", t(s.databaseUp ? "status.up" : "status.down"), s.databaseUp ? "good" : "bad"),
      !s.restricted && [
        fact("status.rate", t("status.perSecond", { n: Math.round(rate * 10) / 10 })),
        fact("status.received", number(s.events.received)),
        fact("status.queue", number(s.events.queued)),
        fact("status.spool", s.spool.bytes === 0 ? t("status.spoolEmpty") : t("status.spoolBytes", { size: bytes(s.spool.bytes), age: s.spool.oldestSeconds ? duration(s.spool.oldestSeconds) : "–" }), s.spool.bytes === 0 ? "" : "bad"),
      ],
      fact("status.background", background(s.background.behindSeconds)),
      fact("status.version", s.version),
      fact("status.running", duration(Math.max(0, (Date.parse(s.now) - Date.parse(s.startedAt)) / 1000))),
    ].flat());
    drawInstances(s);
    put(refusals, refusalList(s, zone));
  }
  /**
   * Rows stay while the instances are the same, so that the focus stays on a link.
   * @param {any} s
   */
  function drawInstances(s) {
    const ids = JSON.stringify(s.instances.map((/** @type {any} */ i) => i.instanceId));
    if (drawn !== ids) {
      drawn = ids;
      put(instances, s.instances.map((/** @type {any} */ i) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: "/instance?" + new URLSearchParams({ instance: i.instanceId }) }, h("bdi", { class: "id" }, i.instanceId))),
        h("td", { "data-label": t("instances.last") }), h("td", { class: "num", "data-label": t("status.ago") }))));
      if (s.instances.length === 0) put(instances, h("tr", {}, h("td", { colspan: 3, class: "quiet" }, t("now.empty"))));
    }
    s.instances.forEach((/** @type {any} */ i, /** @type {number} */ row) => {
      const [, at, ago] = instances.children[row].children;
      setText(at, dateTime(i.lastEventAt, zone));
      setText(ago, duration(Math.max(0, (Date.parse(s.now) - Date.parse(i.lastEventAt)) / 1000)));
    });
  }
  return {
    element: h("div", { class: "view" }, h("h1", {}, t("nav.status")), error, facts, h("p", { class: "quiet" }, t("status.process")),
      h("section", { class: "card" }, h("h2", {}, t("status.instances")), h("table", { class: "list stack" }, h("caption", { class: "sr" }, t("status.instances")),
        h("thead", {}, h("tr", {}, ["instances.id", "instances.last", "status.ago"].map((n) => h("th", { scope: "col" }, t(n))))), instances)),
      h("section", { class: "card" }, h("h2", {}, t("refused.title")), refusals)),
    close: followStatus(draw, error),
  };
}

/**
 * Shows the state of the service, again every other second. Returns how to stop.
 * @param {(s: any) => void} show
 * @param {HTMLElement} error
 */
export function followStatus(show, error) {
  const aborter = new AbortController();
  let loading = false;
  async function load() {
    if (loading || document.hidden) return;
    loading = true;
    try {
      show(await get(["status"], {}, aborter.signal));
      error.hidden = true;
    } catch (e) {
      if (aborter.signal.aborted) return;
      error.hidden = false;
      put(error, e instanceof Error ? e.message : "");
    } finally {
      loading = false;
    }
  }
  load();
  const timer = setInterval(load, every);
  return () => {
    clearInterval(timer);
    aborter.abort();
  };
}

/** @param {number} behind seconds */
function background(behind) {
  return behind < upToDate ? t("status.current") : t("status.behind", { length: duration(Math.round(behind)) });
}

/**
 * @param {string} name
 * @param {string} value
 * @param {string} [mood]
 */
function fact(name, value, mood = "") {
  return h("div", { class: mood }, h("dt", {}, t(name)), h("dd", {}, value));
}

/** @param {number} n */
function bytes(n) {
  const unit = n < 1e6 ? ["kilobyte", 1e3] : n < 1e9 ? ["megabyte", 1e6] : ["gigabyte", 1e9];
  return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: String(unit[0]), maximumFractionDigits: 1 }).format(n / Number(unit[1]));
}

/**
 * How many requests were refused, and why.
 * @param {any} s
 * @param {string} zone
 */
export function refusalList(s, zone) {
  if (s.refusals.length === 0) return h("p", { class: "quiet" }, t("refused.none"));
  return h("ul", { class: "refusals" }, s.refusals.map((/** @type {any} */ r) => h("li", { class: r.reason === "unauthorized" ? "bad" : "" },
    h("b", {}, number(r.count)), h("span", {}, t("refused." + r.reason), r.instance && [" · ", h("bdi", {}, r.instance)]), h("span", { class: "quiet" }, t("refused.last", { at: dateTime(r.lastAt, zone) })))));
}
