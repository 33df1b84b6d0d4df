// Reads the timeline's data from the API.

import { get } from "./api.js";
import { phoneText } from "./i18n.js";
import { rangeQuery } from "./time.js";

/**
 * @param {string} instance
 * @param {string[]} phones
 * @param {{from: number, to: number}} range
 * @param {number} width pixels that there are for it: more spans than can be seen come summed up
 * @param {AbortSignal} signal
 * @returns {Promise<import("./timeline.js").Track[]>}
 */
export function loadTracks(instance, phones, range, width, signal) {
  const query = { ...rangeQuery(range), columns: Math.max(100, Math.min(4000, width)) };
  return Promise.all(phones.map(async (phone, track) => {
    const found = await get(["instances", instance, "contacts", phone, "lanes"], query, signal);
    const now = Date.now();
    return {
      label: phoneText(phone),
      spans: found.spans.map((/** @type {any} */ x) => ({
        track, measure: x.measure, start: Date.parse(x.start), end: x.end ? Date.parse(x.end) : now,
        sureUntil: Date.parse(x.confirmedUntil), events: x.events, endedBy: x.endedBy,
      })),
      columns: found.columns ? columnsOf(found) : null,
      unknown: found.unknown.map((/** @type {any} */ x) => ({ start: Date.parse(x.start), end: Date.parse(x.end) })),
    };
  }));
}

/**
 * @param {any} found
 * @returns {import("./lanes.js").Column[]}
 */
function columnsOf(found) {
  const from = Date.parse(found.from), to = Date.parse(found.to);
  const { inChat, typing, recording } = found.columns;
  const length = (to - from) / inChat.shares.length;
  return inChat.shares.map((/** @type {number} */ _, /** @type {number} */ i) => ({
    start: from + i * length, end: from + (i + 1) * length,
    lanes: {
      inChat: { share: inChat.shares[i], sure: inChat.confirmedShares[i] },
      typing: { share: typing.shares[i], sure: typing.confirmedShares[i] },
      recording: { share: recording.shares[i], sure: recording.confirmedShares[i] },
    },
  }));
}
