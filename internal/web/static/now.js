// Now: who is in the chat, typing or recording. The server filters, sorts and pages; the feed updates visible rows.

import { get, latest } from "./api.js";
import { announce, h, put, setText } from "./dom.js";
import { number, phoneOf, t } from "./i18n.js";
import { follow } from "./live.js";
import { makeRow } from "./rows.js";

/** @typedef {import("./live.js").State} State */
/** @typedef {import("./app.js").Context} Context */

const groups = /** @type {Record<string, string[]>} */ ({
  typing: ["COMPOSING"], recording: ["RECORDING"], chat: ["AVAILABLE", "PAUSED"], away: ["UNAVAILABLE"],
});
const refreshEvery = 5000; // for counts, and rows that appear or disappear
const refreshSoonest = 2000;
const holdFor = 5000;

/**
 * @param {Context} first
 * @returns {import("./app.js").View}
 */
export function nowView(first) {
  const { zone } = first;
  let { params, go } = first;
  first.title(t("nav.now"));

  /** @type {Map<string, ReturnType<typeof makeRow>>} */
  const rows = new Map();
  let typing = 0, refreshing = 0; // timers
  let heldUntil = 0;
  const hold = () => {
    heldUntil = Date.now() + holdFor;
  };
  const body = h("tbody", { onpointermove: hold, onfocusin: hold });
  const chips = h("div", { class: "chips", role: "group", "aria-label": t("now.filter") });
  const note = h("p", { class: "quiet empty", hidden: true });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  // These stay, so that the focus does.
  let nextCursor = "";
  const firstPage = h("button", { type: "button", hidden: true, onclick: () => change({ cursor: "" }) }, t("now.first"));
  const nextPage = h("button", { type: "button", hidden: true, onclick: () => change({ cursor: nextCursor }) }, t("now.next"));
  const table = h("table", { class: "list now" },
    h("caption", { class: "sr" }, t("now.caption")),
    h("thead", {}, h("tr", {}, [["contact", "phone"], ["status", "activity"], ["since", "since"], ["lastEvent", "recent"], ["instance", ""]]
      .map(([name, sort]) => h("th", { scope: "col", "data-sort": sort }, sort
        ? h("button", { type: "button", onclick: () => change({ sort, cursor: "" }) }, t("now." + name))
        : t("now." + name))))), body);
  const search = h("input", {
    id: "search", type: "search", placeholder: t("now.searchHint"), autocomplete: "off", spellcheck: "false", maxlength: 128,
    oninput() {
      clearTimeout(typing);
      typing = setTimeout(() => change({}, true), 250);
    },
  });
  const instance = h("select", { id: "instance", onchange: () => change({ instance: instance.value, cursor: "" }) });
  const pause = h("button", { type: "button", class: "pause", "aria-pressed": "false", onclick: togglePause });
  const element = h("div", { class: "view" },
    h("div", { class: "head" }, h("h1", {}, t("now.title")), pause),
    h("div", { class: "tools" }, chips,
      h("div", { class: "fields" },
        h("label", { class: "sr", for: "search" }, t("now.search")), search,
        h("label", { class: "sr", for: "instance" }, t("now.instance")), instance)),
    error, table, note, h("div", { class: "pages" }, firstPage, nextPage));

  let paused = false, dirty = false, loading = false, loadedAt = 0, order = "", noted = "";
  let stopFeed = () => {};
  const requests = latest();
  const clock = setInterval(tick, 1000);
  const refresher = setInterval(() => load(), refreshEvery);

  /**
   * Changes the query, also by what was typed just before.
   * @param {Record<string, string>} query
   * @param {boolean} [replace]
   */
  function change(query, replace = false) {
    clearTimeout(typing);
    const typed = search.value.trim();
    if (typed !== (params.get("search") ?? "")) query = { ...query, search: typed, cursor: "" };
    const next = new URLSearchParams(params);
    for (const [name, value] of Object.entries(query)) {
      if (value) next.set(name, value);
      else next.delete(name);
    }
    go(next, replace);
    if (replace) {
      params = next;
      restart();
    }
  }

  function restart() {
    markChip();
    if (search.value.trim() !== (params.get("search") ?? "")) search.value = params.get("search") ?? "";
    const sort = params.get("sort") ?? "activity";
    for (const th of table.querySelectorAll("th[data-sort]")) {
      if (th.dataset.sort === sort) th.setAttribute("aria-sort", sort === "phone" ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    }
    stopFeed();
    stopFeed = follow({ instance: params.get("instance") }, (states) => {
      if (paused) return;
      const here = params.get("instance");
      if (states === null || !states.filter((x) => !here || x.instanceId === here).every(patch)) soon();
    });
    load(true);
  }

  function soon() {
    if (dirty) return;
    dirty = true;
    refreshing = setTimeout(() => {
      dirty = false;
      load();
    }, Math.max(0, loadedAt + refreshSoonest - Date.now()));
  }

  /** @param {boolean} [again] also if something is being loaded */
  async function load(again = false) {
    if (!again && (loading || paused || document.hidden)) return;
    const signal = requests.next();
    loading = true;
    try {
      const status = groups[params.get("show") ?? ""]?.join(",");
      const found = await get(["now"], {
        status, instance: params.get("instance"), search: phoneOf(params.get("search") ?? ""), sort: params.get("sort"), cursor: params.get("cursor"),
      }, signal);
      if (!signal.aborted) show(found, again, signal);
    } catch (e) {
      if (signal.aborted) return;
      error.hidden = false;
      put(error, e instanceof Error ? e.message : "");
    } finally {
      if (!signal.aborted) {
        loading = false;
        loadedAt = Date.now();
      }
    }
  }

  /**
   * @param {{contacts: State[], counts: Record<string, number>, instances: string[], nextCursor: string | null}} found
   * @param {boolean} asked whether the reader asked for it, rather than the clock
   * @param {AbortSignal} signal
   */
  function show(found, asked, signal) {
    error.hidden = true;
    drawChips(found.counts);
    drawInstances(found.instances);
    const keys = found.contacts.map(keyOf);
    const keep = new Set(keys);
    // Rows do not move while a pointer moves over them or the focus has just reached them, so that users can click them.
    const held = !asked && Date.now() < heldUntil && (body.matches(":hover") || body.contains(document.activeElement));
    for (const [key, row] of rows) {
      if (!keep.has(key) && !held) {
        row.element.remove();
        rows.delete(key);
      }
    }
    for (const state of found.contacts) {
      const row = rows.get(keyOf(state));
      if (row) row.set(state);
      else if (!held) rows.set(keyOf(state), makeRow(state, zone));
    }
    if (!held && (order !== keys.join() || body.childElementCount !== keys.length)) {
      order = keys.join();
      const focused = document.activeElement;
      body.replaceChildren(...keys.map((key) => rows.get(key)?.element));
      if (focused instanceof HTMLElement && body.contains(focused)) focused.focus({ preventScroll: true });
    }
    table.hidden = rows.size === 0;
    note.hidden = rows.size > 0;
    const filtered = ["show", "search", "instance"].some((name) => params.get(name));
    if (rows.size === 0) {
      if (filtered) drawNote("none");
      else explain(signal);
    }
    if (asked) announce(t("now.found", { n: rows.size }));
    nextCursor = found.nextCursor ?? "";
    firstPage.hidden = !params.get("cursor");
    nextPage.hidden = !nextCursor;
  }

  /**
   * Says that nothing has arrived, and why if requests were refused.
   * @param {AbortSignal} signal
   */
  async function explain(signal) {
    if (noted !== "refused") drawNote("empty");
    try {
      const s = await get(["status"], {}, signal);
      if (rows.size === 0) drawNote(s.refusals.length > 0 ? "refused" : "empty");
    } catch {
      // the page then says only that nothing has arrived
    }
  }

  /**
   * Says why there are no rows; the same again changes nothing, so that the focus stays on a link.
   * @param {"none" | "empty" | "refused"} why
   */
  function drawNote(why) {
    if (noted === why) return;
    noted = why;
    note.classList.toggle("first", why !== "none");
    if (why === "none") put(note, h("strong", {}, t("now.none")), " ", h("a", { href: "/" }, t("now.clear")));
    if (why === "empty") put(note, h("strong", {}, t("now.empty")), " ", h("span", {}, t("now.emptyHelp")), h("a", { class: "button", href: "/setup" }, t("now.setup")));
    if (why === "refused") put(note, h("strong", { class: "error" }, t("now.refused")), " ", h("a", { class: "button", href: "/setup" }, t("now.why")));
  }

  /** @param {Record<string, number>} counts */
  function drawChips(counts) {
    const all = Object.values(counts).reduce((a, b) => a + b, 0);
    const list = [["", all], ...Object.entries(groups).map(([name, statuses]) => [name, statuses.reduce((n, s) => n + (counts[s] ?? 0), 0)])];
    if (chips.childElementCount !== list.length) {
      put(chips, list.map(([name]) => h("button", {
        type: "button", class: "chip " + name, "data-show": name, onclick: () => change({ show: String(name), cursor: "" }),
      }, h("span", {}, t("show." + (name || "all"))), " ", h("b"))));
    }
    list.forEach(([, n], i) => {
      setText(chips.children[i].querySelector("b"), number(Number(n)));
    });
    markChip();
  }

  /** Presses the selected chip at once, before the service responds. */
  function markChip() {
    const current = params.get("show") ?? "";
    for (const chip of chips.children) chip.setAttribute("aria-pressed", String(chip.dataset.show === current));
  }

  /** @param {string[]} names */
  function drawInstances(names) {
    const current = params.get("instance") ?? "";
    const wanted = [["", t("now.allInstances")], ...names.map((n) => [n, n])];
    if (current && !names.includes(current)) wanted.push([current, current]);
    if (instance.options.length !== wanted.length || instance.value !== current) {
      put(instance, wanted.map(([value, text]) => h("option", { value, selected: value === current }, text)));
    }
  }

  /**
   * Shows a change in its row. False: there is none, or the row no longer belongs here.
   * @param {State} state
   */
  function patch(state) {
    const row = rows.get(keyOf(state));
    row?.set(state);
    const wanted = groups[params.get("show") ?? ""];
    return Boolean(row) && (!wanted || wanted.includes(state.status));
  }

  function tick() {
    if (!paused && !document.hidden) for (const row of rows.values()) row.tick();
  }

  function togglePause() {
    paused = !paused;
    drawPause();
    if (!paused) load(true);
  }

  function drawPause() {
    pause.setAttribute("aria-pressed", String(paused));
    element.classList.toggle("paused", paused);
    put(pause, h("i", { class: "dot", "aria-hidden": "true" }), t(paused ? "now.paused" : "now.live"));
    pause.title = t(paused ? "now.resumeHelp" : "now.pauseHelp");
  }

  drawPause();
  restart();
  return {
    element,
    update(context) {
      ({ params, go } = context);
      context.title(t("nav.now"));
      restart();
    },
    close() {
      clearInterval(clock);
      clearInterval(refresher);
      clearTimeout(typing);
      clearTimeout(refreshing);
      stopFeed();
      requests.stop();
    },
  };
}

/** @param {State} state */
function keyOf(state) {
  return JSON.stringify([state.instanceId, state.phone]);
}
