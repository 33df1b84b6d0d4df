// A row of Now: a contact and what it does.

import { h, put, setText } from "./dom.js";
import { duration, phoneText, statusText, t } from "./i18n.js";
import { dateTime, shortTime } from "./time.js";

/** @typedef {import("./live.js").State} State */

/** The sign of a status: it moves, and does not depend on colour. */
export function statusMark(/** @type {string} */ status) {
  return h("span", { class: "mark-" + status.toLowerCase() + " status-mark", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
}

/**
 * The address of a contact's view.
 * @param {string} instance
 * @param {string | string[]} phone
 * @param {Record<string, string>} [more]
 */
export function contactHref(instance, phone, more = {}) {
  const params = new URLSearchParams({ instance });
  for (const p of [phone].flat()) params.append("phone", p);
  for (const [name, value] of Object.entries(more)) params.set(name, value);
  return "/contact?" + params;
}

/**
 * A contact's row. set shows another state in it, tick what the clock changes.
 * @param {State} state
 * @param {string} zone
 */
export function makeRow(state, zone) {
  const name = h("a", { href: contactHref(state.instanceId, state.phone), title: state.phone }, h("bdi", {}, phoneText(state.phone)));
  const status = h("td", { "data-label": t("now.status") });
  const since = h("time");
  const last = h("time");
  const element = h("tr", {}, h("th", { scope: "row" }, name), status,
    h("td", { "data-label": t("now.since"), class: "num" }, since), h("td", { "data-label": t("now.lastEvent"), class: "num" }, last),
    h("td", { "data-label": t("now.instance"), class: "instance" },
      h("a", { href: "/instance?" + new URLSearchParams({ instance: state.instanceId }), title: state.instanceId }, h("bdi", {}, state.instanceId))));
  let drawn = "";
  const row = {
    element,
    state,
    /** @param {State} next */
    set(next) {
      row.state = next;
      if (drawn !== next.status) {
        drawn = next.status;
        element.className = "is-" + next.status.toLowerCase();
        put(status, h("span", { class: "status" }, statusMark(next.status), statusText(next.status)));
      }
      since.dateTime = next.since;
      since.title = dateTime(next.since, zone);
      last.dateTime = next.lastEventAt;
      last.title = dateTime(next.lastEventAt, zone);
      setText(last, shortTime(next.lastEventAt, zone));
      row.tick();
    },
    tick() {
      setText(since, duration(Math.max(0, Math.floor((Date.now() - Date.parse(row.state.since)) / 1000))));
    },
  };
  row.set(state);
  return row;
}
