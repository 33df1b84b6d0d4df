// Instances, and one instance: its week by hours, totals by day, its most active contacts.

import { get, latest, retry } from "./api.js";
import { segments } from "./charts.js";
import { h, put } from "./dom.js";
import { duration, number, phoneText, t } from "./i18n.js";
import { contactHref } from "./rows.js";
import { rangeBar, rangeOf, writeRange } from "./range.js";
import { sums } from "./sums.js";
import { dateTime, rangeQuery } from "./time.js";

/**
 * @param {import("./app.js").Context} context
 * @returns {import("./app.js").View}
 */
export function instancesView({ title, zone }) {
  title(t("nav.instances"));
  const body = h("tbody");
  const note = h("p", { class: "quiet empty" });
  const pages = latest();
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, t("now.next"));
  const card = h("section", { class: "card", hidden: true }, h("table", { class: "list stack" }, h("caption", { class: "sr" }, t("nav.instances")),
    h("thead", {}, h("tr", {}, ["instances.id", "instances.first", "instances.last"].map((n) => h("th", { scope: "col" }, t(n))))), body));
  let cursor = "";
  async function load() {
    const signal = pages.next();
    try {
      const found = await get(["instances"], { cursor }, signal);
      cursor = found.nextCursor ?? "";
      more.hidden = !cursor;
      body.append(...found.instances.map((/** @type {any} */ i) => h("tr", {},
        h("th", { scope: "row" }, h("a", { href: "/instance?" + new URLSearchParams({ instance: i.instanceId }) }, h("bdi", { class: "id" }, i.instanceId))),
        h("td", { "data-label": t("instances.first") }, dateTime(i.firstEventAt, zone)), h("td", { "data-label": t("instances.last") }, dateTime(i.lastEventAt, zone)))));
      card.hidden = body.childElementCount === 0;
      put(note, body.childElementCount === 0 && [t("now.empty"), " ", h("a", { href: "/setup" }, t("now.setup"))]);
    } catch (e) {
      if (signal.aborted) return;
      put(note, e instanceof Error ? e.message : "");
      retry(e, signal, load);
    }
  }
  load();
  return {
    element: h("div", { class: "view" }, h("h1", {}, t("nav.instances")), card, note, more),
    close: pages.stop,
  };
}

/**
 * @param {import("./app.js").Context} context
 * @returns {import("./app.js").View}
 */
export function instanceView({ params, zone, go, title }) {
  const instance = params.get("instance") ?? "";
  title(t("contact.instance") + " " + instance);
  const range = rangeOf(params, "30d");
  const bar = rangeBar({ zone, pick: (next) => go(writeRange(params, next)) });
  bar.set(range);
  const below = sums({ instance, phones: [], zone });
  below.load(range);
  const requests = latest();
  const list = h("ol", { class: "top" });
  const by = segments(t("top.by"), ["typing", "recording", "inChat", "visits"].map((b) => [b, t("top." + b)]), "typing", load);
  /** @param {string} order */
  async function load(order) {
    const signal = requests.next();
    try {
      const found = await get(["instances", instance, "top"], { ...rangeQuery(range), by: order, limit: 10 }, signal);
      const value = (/** @type {any} */ c) => (order === "visits" ? c.count : c.seconds);
      const most = Math.max(1, ...found.contacts.map(value));
      put(list, found.contacts.map((/** @type {any} */ c) => {
        const meter = h("span", { class: "meter " + (order === "visits" ? "inChat" : order), "aria-hidden": "true" });
        meter.style.setProperty("--share", String(value(c) / most));
        return h("li", {}, h("a", { href: contactHref(instance, c.phone, Object.fromEntries(writeRange(new URLSearchParams(), range))) }, h("bdi", {}, phoneText(c.phone))),
          meter, h("span", { class: "num" }, order === "visits" ? t("times", { n: c.count }) : duration(c.seconds)), h("span", { class: "quiet num" }, order === "visits" ? duration(c.seconds) : number(c.count) + " ×"));
      }));
      if (found.contacts.length === 0) put(list, h("li", { class: "quiet" }, t("top.none")));
    } catch (e) {
      if (signal.aborted) return;
      put(list, h("li", { class: "error" }, e instanceof Error ? e.message : ""));
      retry(e, signal, () => load(order));
    }
  }
  load("typing");
  return {
    element: h("div", { class: "view" }, h("div", { class: "head" }, h("div", {}, h("p", { class: "crumb" }, h("a", { href: "/instances" }, t("nav.instances"))),
      h("h1", {}, t("contact.instance"), " ", h("bdi", { class: "id" }, instance))),
      h("a", { class: "button", href: "/?" + new URLSearchParams({ instance }) }, t("instance.now"))), bar.element,
    below.element,
    h("section", { class: "card" }, h("div", { class: "head" }, h("h2", {}, t("top.title")), by.element), list)),
    close() {
      requests.stop();
      below.close();
    },
  };
}
