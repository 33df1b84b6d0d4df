// Changes as they happen: from the live feed, or by polling without one.

import { address } from "./api.js";

/**
 * @typedef {object} State a contact and what it does
 * @property {string} instanceId
 * @property {string} phone
 * @property {string} status
 * @property {string} since
 * @property {string} lastEventAt
 */

const batchEvery = 250; // milliseconds: fast enough, and limits the cost of a busy feed
const pollEvery = 3000;
const connectEvery = 15_000; // without the feed

/**
 * Calls changed with the states that changed, or with null when all is to be read again. Nothing is asked for while the
 * page is hidden. Returns how to stop.
 * @param {Record<string, any>} query
 * @param {(states: State[] | null) => void} changed
 * @returns {() => void}
 */
export function follow(query, changed) {
  /** @type {EventSource | null} */
  let source = null;
  /** @type {State[]} */
  let batch = [];
  let timer = 0, polling = 0, connecting = 0;
  let missed = false; // whether there may be changes that the feed will not send

  function flush() {
    timer = 0;
    const states = batch;
    batch = [];
    if (states.length > 0) changed(states);
  }

  function poll() {
    source?.close();
    source = null;
    if (!polling) polling = setInterval(() => changed(null), pollEvery);
    connecting = setTimeout(connect, connectEvery);
  }

  function start() {
    if (source || polling) return;
    if (missed) changed(null);
    connect();
  }

  function connect() {
    // A comma would separate names, so names with commas are not in the request. Subscribers filter the states.
    const plain = Object.entries(query).filter(([, value]) => ![value].flat().some((v) => String(v).includes(",")));
    source = new EventSource(address(["live"], Object.fromEntries(plain)));
    source.addEventListener("state", (event) => {
      batch.push(JSON.parse(event.data));
      if (!timer) timer = setTimeout(flush, batchEvery);
    });
    source.addEventListener("resync", () => changed(null));
    source.addEventListener("open", () => {
      clearInterval(polling);
      polling = 0;
      if (missed) changed(null);
      missed = false;
    });
    source.addEventListener("error", () => {
      missed = true;
      if (source?.readyState === EventSource.CLOSED) poll();
    });
  }

  function stop() {
    source?.close();
    source = null;
    clearInterval(polling);
    clearTimeout(timer);
    clearTimeout(connecting);
    polling = timer = 0;
    missed = true;
    batch = [];
  }

  function onVisibility() {
    if (document.hidden) stop();
    else start();
  }

  document.addEventListener("visibilitychange", onVisibility);
  if (!document.hidden) start();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    stop();
  };
}
