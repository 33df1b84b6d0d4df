// The reader's choices in this browser: theme, time zone, language.

import { isZone } from "./time.js";

/** @param {string} name */
function read(name) {
  try {
    return localStorage.getItem("presencelog-" + name);
  } catch {
    return null; // storage may be blocked
  }
}

/**
 * @param {string} name
 * @param {string | null} value
 */
function write(name, value) {
  try {
    if (value === null) localStorage.removeItem("presencelog-" + name);
    else localStorage.setItem("presencelog-" + name, value);
  } catch {
    // the choice then lasts until the page is closed
  }
}

export function theme() {
  return read("theme") ?? "auto";
}

/** @param {string} value auto, light or dark */
export function setTheme(value) {
  write("theme", value === "auto" ? null : value);
  applyTheme(value);
}

/** @param {string} value */
export function applyTheme(value = theme()) {
  if (value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}

export function browserZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

let chosen = read("zone");

/**
 * The time zone that times are shown in: the address's, else the reader's choice, else the browser's.
 * @param {URLSearchParams} params
 */
export function zoneOf(params) {
  for (const zone of [params.get("tz"), chosen]) {
    if (zone && isZone(zone)) return zone;
  }
  return browserZone();
}

/** @param {string} zone */
export function setZone(zone) {
  chosen = zone === browserZone() ? null : zone;
  write("zone", chosen);
}

/** @param {string} language */
export function setLanguage(language) {
  document.cookie = `presencelog-language=${language}; Path=/; Max-Age=31536000; SameSite=Lax`;
}
