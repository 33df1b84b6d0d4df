// Contact: the past of one contact, or of a few on one axis of time.

import { address, get, latest, retry } from "./api.js";
import { legend } from "./charts.js";
import { h, put } from "./dom.js";
import { duration, number, phoneOf, phoneText, statusText, t } from "./i18n.js";
import { follow } from "./live.js";
import { statusMark } from "./rows.js";
import { loadTracks } from "./tracks.js";
import { rangeBar, rangeOf, writeRange } from "./range.js";
import { sums } from "./sums.js";
import { dateTime, rangeQuery, shortTime } from "./time.js";
import { timeline } from "./timeline.js";

const mostContacts = 5;
const spanRows = 200;
const sumEvery = 60_000; // milliseconds, while the clock moves the range

/**
 * @param {import("./app.js").Context} first
 * @returns {import("./app.js").View}
 */
export function contactView(first) {
  const { zone } = first;
  let { params, go } = first;
  const instance = params.get("instance") ?? "";
  const phones = params.getAll("phone").filter((p, i, all) => p && all.indexOf(p) === i).slice(0, mostContacts);
  let range = rangeOf(params);
  const lanes = latest(), statuses = latest(), suggestions = latest(), pages = latest();
  let settling = 0;
  /** @type {import("./timeline.js").Track[]} */
  let tracks = [];
  let loaded = { from: 0, to: 0, perPixel: 0 };
  let loading = false, changed = false;

  const error = h("p", { class: "error", role: "alert", hidden: true });
  const nows = phones.map(() => h("p", { class: "now-line-text" }));
  const chart = timeline({
    zone,
    onrange(next, settled) {
      range = { ...next, last: range.last && Math.abs(next.to - Date.now()) < (next.to - next.from) * 0.06 ? next.to - next.from : 0 };
      bar.set(range);
      need();
      if (settled) settle();
    },
  });
  const bar = rangeBar({ zone, pick: pickRange, pan: chart.pan, zoom: chart.zoom });
  const spans = h("tbody");
  const spansNote = h("p", { class: "quiet" });
  const spanTable = h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": t("spans.title") }, h("table", { class: "list small" },
    h("thead", {}, h("tr", {}, [phones.length > 1 && "contact", "what", "start", "end", "length", "confirmed", "events", "ended"].filter(Boolean).map((c) =>
      h("th", { scope: "col" }, t("spans." + c))))), spans));
  const below = sums({ instance, phones, zone });
  const events = eventList();
  const downloads = h("ul", { class: "downloads" });

  first.title(phones.map(phoneText).join(", ") || t("nav.now"));
  const element = h("div", { class: "view contact" },
    h("div", { class: "head" }, h("div", {},
      h("p", { class: "crumb" }, h("a", { href: "/instance?" + new URLSearchParams({ instance }) }, t("contact.instance"), " ", h("bdi", { class: "id" }, instance))),
      h("h1", {}, phones.map((p, i) => h("span", { class: "who" }, h("bdi", { title: p }, phoneText(p)),
        phones.length > 1 && h("a", { class: "remove", href: without(p), "aria-label": t("contact.remove", { phone: p }) }, "×"), nows[i]))))),
    error, bar.element,
    h("section", { class: "card", "aria-label": t("timeline.label") }, chart.element, legend(["sure", "unsure", "unknown"]),
      h("details", { class: "spans", ontoggle: drawSpans }, h("summary", {}, t("spans.title")), spansNote,
        spanTable)),
    compareForm(), below.element, events.element,
    h("section", { class: "card" }, h("h2", {}, t("downloads.title")), downloads));

  /** @param {string} phone */
  function without(phone) {
    const next = new URLSearchParams(params);
    next.delete("phone");
    for (const p of phones) if (p !== phone) next.append("phone", p);
    return "/contact?" + next;
  }

  /** @param {import("./range.js").Chosen} next */
  function pickRange(next) {
    const query = writeRange(params, next);
    go(query);
  }

  /**
   * Loads the timeline's range and somewhat more, unless it is loaded.
   * @param {boolean} [again] also then; once the response is there if it is being loaded
   */
  function need(again = false) {
    const length = range.to - range.from, perPixel = length / chart.plotWidth();
    const now = Date.now();
    const there = range.from >= loaded.from && Math.min(range.to, now) <= Math.max(loaded.to, now - 5000) &&
      (perPixel >= loaded.perPixel / 2 && perPixel <= loaded.perPixel * 2.5);
    if (there && loading) changed ||= again;
    if (there && (loading || !again)) return;
    const from = range.from - length / 4, to = range.to + length / 4;
    loaded = { from, to, perPixel };
    const signal = lanes.next();
    loading = true;
    changed = false;
    const width = Math.round(chart.plotWidth() * 1.5);
    loadTracks(instance, phones, loaded, width, signal).then((list) => {
      if (signal.aborted) return;
      loading = false;
      error.hidden = true;
      tracks = list;
      chart.setTracks(tracks);
      drawSpans();
      if (changed) need(true);
    }, (e) => {
      if (signal.aborted) return;
      loading = false;
      loaded.perPixel = 0;
      error.hidden = false;
      put(error, e.message);
      retry(e, signal, () => need(true));
    });
  }

  /** Updates everything that depends on the range, once the range no longer changes. */
  function settle() {
    clearTimeout(settling);
    settling = setTimeout(() => {
      params = writeRange(params, range);
      go(params, true);
      loadBelow();
      drawSpans();
    }, 250);
  }

  /** Loads what is below the timeline. */
  function loadBelow() {
    summedAt = Date.now();
    below.load(range);
    events.load();
    drawDownloads();
  }

  function drawSpans() {
    // A row with the focus stays, so that keyboard users do not lose their place.
    if (!element.querySelector("details.spans[open]") || spans.contains(document.activeElement)) return;
    const list = tracks.flatMap((track) => track.spans.filter((x) => x.end > range.from && x.start < range.to).map((span) => ({ track, span })));
    list.sort((a, b) => b.span.start - a.span.start);
    spanTable.hidden = list.length === 0;
    put(spansNote, tracks.some((x) => x.columns) ? t("spans.tooMany") : list.length > spanRows ? t("spans.first", { n: spanRows }) : t("spans.count", { n: list.length }));
    put(spans, list.slice(0, spanRows).map(({ track, span }) => h("tr", {
      tabindex: 0, onfocus: () => chart.highlight(span), onblur: () => chart.highlight(null),
      onpointerenter: () => chart.highlight(span), onpointerleave: () => chart.highlight(null),
    }, phones.length > 1 && h("td", {}, h("bdi", {}, track.label)),
    h("th", { scope: "row" }, h("span", { class: "swatch " + span.measure, "aria-hidden": "true" }), t("measure." + span.measure)),
    h("td", {}, dateTime(span.start, zone)), h("td", {}, span.endedBy === "open" ? "–" : dateTime(span.end, zone)),
    h("td", { class: "num" }, duration((span.end - span.start) / 1000)), h("td", { class: "num" }, duration(Math.max(0, span.sureUntil - span.start) / 1000)),
    h("td", { class: "num" }, number(span.events)), h("td", {}, t("ended." + span.endedBy)))));
  }

  function drawDownloads() {
    // If the range is not over, it ends when the download begins.
    const query = range.last ? { last: Math.round(range.last / 1000) + "s" }
      : { from: new Date(range.from).toISOString(), to: new Date(range.to).toISOString() };
    put(downloads, phones.flatMap((phone) => ["timeline", "events"].map((list) => h("li", {},
      h("span", {}, t("downloads." + list), phones.length > 1 && [" ", h("bdi", {}, phoneText(phone))]),
      ["csv", "ndjson"].map((format) => h("a", {
        href: address(["instances", instance, "contacts", phone, list], { ...query, format }), download: `${phone}-${list}.${format}`,
      }, format.toUpperCase()))))));
  }

  function compareForm() {
    if (phones.length >= mostContacts) return null;
    const found = h("datalist", { id: "found" });
    let known = new Set();
    const input = h("input", {
      id: "compare", list: "found", autocomplete: "off", spellcheck: "false", maxlength: 128, placeholder: t("compare.hint"),
      async oninput() {
        if (known.has(input.value)) return;
        const list = await get(["instances", instance, "contacts"], { search: phoneOf(input.value), limit: 20 }, suggestions.next()).catch(() => null);
        if (!list) return;
        known = new Set(list.contacts.map((/** @type {any} */ c) => c.phone));
        put(found, list.contacts.filter((/** @type {any} */ c) => !phones.includes(c.phone)).map((/** @type {any} */ c) => h("option", { value: c.phone }, phoneText(c.phone))));
      },
    });
    return h("form", {
      class: "compare", onsubmit(/** @type {Event} */ event) {
        event.preventDefault();
        const phone = phoneOf(input.value);
        if (!phone || phones.includes(phone)) return;
        const next = new URLSearchParams(params);
        next.append("phone", phone);
        go(next);
      },
    }, h("label", { for: "compare" }, t("compare.label")), input, found, h("button", {}, t("compare.add")));
  }

  /** The events as received, newest first. */
  function eventList() {
    const body = h("tbody");
    const note = h("p", { class: "quiet" });
    const more = h("button", { type: "button", hidden: true, onclick: () => next() }, t("events.more"));
    let query = rangeQuery(range), cursor = "", open = false;
    const box = h("section", { class: "card" }, h("details", {
      ontoggle(/** @type {any} */ event) {
        open = event.target.open;
        if (open && !cursor && !body.childElementCount) next();
      },
    }, h("summary", {}, h("h2", {}, t("events.title"))), h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": t("events.title") },
      h("table", { class: "list small" }, h("thead", {}, h("tr", {}, ["at", "status", "lastSeen", "extra"].map((c) => h("th", { scope: "col" }, t("events." + c))))), body)), note, more));
    async function next() {
      const signal = pages.next();
      if (!cursor) query = rangeQuery(range);
      let page;
      try {
        page = await get(["instances", instance, "contacts", phones[0], "events"], { ...query, order: "desc", limit: 50, cursor }, signal);
      } catch (e) {
        if (signal.aborted) return;
        put(note, e instanceof Error ? e.message : "");
        retry(e, signal, next);
        return;
      }
      cursor = page.nextCursor ?? "";
      more.hidden = !cursor;
      body.append(...page.events.map((/** @type {any} */ e) => h("tr", {}, h("td", {}, dateTime(e.receivedAt, zone)),
        h("td", {}, h("span", { class: "status" }, statusMark(e.status), statusText(e.status))),
        h("td", { class: "num" }, e.lastSeen ?? "–"), h("td", { class: "extra" }, e.extra ? h("bdi", {}, JSON.stringify(e.extra)) : "–"))));
      put(note, body.childElementCount === 0 && t("events.none"));
    }
    return {
      element: phones.length === 1 ? box : null,
      load() {
        cursor = "";
        put(body);
        put(note);
        if (open) next();
        else pages.next(); // a response for the range before is dropped
      },
    };
  }

  function drawNow() {
    const signal = statuses.next();
    phones.forEach(async (phone, i) => {
      try {
        const c = await get(["instances", instance, "contacts", phone], {}, signal);
        put(nows[i], h("span", { class: "status" }, statusMark(c.status), statusText(c.status)), h("span", { class: "quiet" }, t("contact.since", { at: shortTime(c.since, zone) })));
      } catch (e) {
        if (!signal.aborted) retry(e, signal, drawNow);
      }
    });
  }

  let shownAt = 0, summedAt = 0;
  const clock = setInterval(() => {
    // The range moves with the clock, or is not over yet.
    if (document.hidden || !range.last && range.to < shownAt) return;
    const now = Date.now();
    if (range.last) range = { ...range, from: range.from + now - shownAt, to: range.to + now - shownAt };
    shownAt = now;
    for (const track of tracks) for (const span of track.spans) if (span.endedBy === "open") span.end = Math.max(span.end, now);
    chart.setRange(range);
    bar.set(range);
    if (now - summedAt < sumEvery) return;
    summedAt = now;
    below.refresh(range);
    drawSpans();
  }, 1000);
  let refreshing = 0;
  const stopFeed = phones.length === 0 ? () => {} : follow({ instance, phone: phones }, (states) => {
    if (states && !states.some((x) => x.instanceId === instance && phones.includes(x.phone))) return;
    clearTimeout(refreshing);
    refreshing = setTimeout(() => {
      drawNow();
      if (range.last || range.to > Date.now() - 60_000) need(true);
    }, 300);
  });

  function start() {
    chart.setRange(range);
    bar.set(range);
    shownAt = Date.now();
    requestAnimationFrame(() => need(true));
    loadBelow();
  }
  drawNow();
  start();

  return {
    element,
    close() {
      clearInterval(clock);
      clearTimeout(settling);
      clearTimeout(refreshing);
      stopFeed();
      for (const requests of [lanes, statuses, suggestions, pages]) requests.stop();
      below.close();
      chart.close();
    },
    update(context) {
      ({ params, go } = context);
      range = rangeOf(params);
      start();
    },
    // Other contacts need another view.
    same: (context) => context.params.get("instance") === instance && context.params.getAll("phone").join("\0") === phones.join("\0"),
  };
}
