// Times in a time zone: their format, and the starts of hours, days, weeks and months.

import { language } from "./i18n.js";

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/**
 * @param {string} zone
 * @param {Intl.DateTimeFormatOptions} options
 */
function format(zone, options) {
  const key = zone + JSON.stringify(options);
  let f = formats.get(key);
  if (!f) {
    f = new Intl.DateTimeFormat(language, { hourCycle: "h23", timeZone: zone, ...options });
    formats.set(key, f);
  }
  return f;
}

/** @param {string} zone */
export function isZone(zone) {
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: zone }));
  } catch {
    return false;
  }
}

const numeric = /** @type {const} */ ({
  year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric",
});
/** @type {Map<string, Intl.DateTimeFormat>} */
const clocks = new Map();

/**
 * The clock on the wall, as if it were UTC.
 * @param {number} ms
 * @param {string} zone
 */
export function wall(ms, zone) {
  let clock = clocks.get(zone);
  if (!clock) {
    clock = new Intl.DateTimeFormat("en-US", { calendar: "gregory", hourCycle: "h23", timeZone: zone, ...numeric });
    clocks.set(zone, clock);
  }
  /** @type {Record<string, number>} */
  const p = {};
  for (const part of clock.formatToParts(ms)) p[part.type] = Number(part.value);
  return Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute, p.second) + (((ms % 1000) + 1000) % 1000);
}

/**
 * The moment at which the clock on the wall shows this. If the clock skips it, as much later as it skips.
 * @param {number} clock
 * @param {string} zone
 */
export function unwall(clock, zone) {
  let ms = clock - (wall(clock, zone) - clock);
  ms = clock - (wall(ms, zone) - ms);
  const shown = wall(ms, zone);
  return shown < clock ? ms + (clock - shown) : ms;
}

const second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
const steps = [
  second, 5 * second, 10 * second, 30 * second, minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute,
  hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 7 * day,
];

/**
 * @typedef {object} Tick
 * @property {number} at
 * @property {string} label
 * @property {boolean} major a new day, or a new year among months
 */

/**
 * Ticks of an axis, up to a maximum.
 * @param {number} from
 * @param {number} to
 * @param {number} most
 * @param {string} zone
 * @returns {Tick[]}
 */
export function ticks(from, to, most, zone) {
  const step = steps.find((size) => (to - from) / size <= most);
  return step ? stepTicks(from, to, step, zone) : monthTicks(from, to, most, zone);
}

/**
 * @param {number} from
 * @param {number} to
 * @param {number} step
 * @param {string} zone
 */
function stepTicks(from, to, step, zone) {
  /** @type {Tick[]} */
  const list = [];
  const base = step >= 2 * day ? 4 * day : 0; // 1970-01-05 was a Monday
  let clock = Math.ceil((wall(from, zone) - base) / step) * step + base;
  for (; ; clock += step) {
    const at = unwall(clock, zone);
    if (at > to) return list;
    if (at < from || list.some((tick) => tick.at === at)) continue; // a skipped time is the next one
    const midnight = clock % day === 0;
    const label = midnight
      ? format(zone, { day: "numeric", month: "short", ...(step < 2 * day && { weekday: "short" }) }).format(at)
      : format(zone, { hour: "2-digit", minute: "2-digit", ...(step < minute && { second: "2-digit" }) }).format(at);
    list.push({ at, label, major: midnight && step < day });
  }
}

/**
 * @param {number} from
 * @param {number} to
 * @param {number} most
 * @param {string} zone
 */
function monthTicks(from, to, most, zone) {
  const months = (to - from) / (30 * day);
  const step = [1, 2, 3, 6, 12, 24, 60, 120].find((n) => months / n <= most) ?? 240;
  const list = [];
  const start = new Date(wall(from, zone));
  let n = start.getUTCFullYear() * 12 + start.getUTCMonth();
  n = Math.ceil(n / step) * step;
  for (; ; n += step) {
    const at = unwall(Date.UTC(Math.floor(n / 12), n % 12, 1), zone);
    if (at > to) return list;
    if (at < from) continue;
    const january = n % 12 === 0;
    list.push({ at, label: format(zone, january || step >= 12 ? { year: "numeric" } : { month: "short" }).format(at), major: january });
  }
}

/**
 * A moment with its date, to the second.
 * @param {number | string} at
 * @param {string} zone
 */
export function dateTime(at, zone) {
  return format(zone, {
    weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  }).format(new Date(at));
}

/**
 * The time alone if it is within a day of now, else with its date.
 * @param {number | string} at
 * @param {string} zone
 */
export function shortTime(at, zone) {
  const date = new Date(at);
  const near = Math.abs(Date.now() - date.getTime()) < 20 * hour;
  return format(zone, near
    ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
    : { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }).format(date);
}

/**
 * @param {number | string} at
 * @param {string} zone
 */
export function dayText(at, zone) {
  return format(zone, { weekday: "short", day: "numeric", month: "short" }).format(new Date(at));
}

/**
 * @param {number | string} at
 * @param {string} zone
 */
export function hourText(at, zone) {
  return format(zone, { hour: "2-digit", minute: "2-digit" }).format(new Date(at));
}

/**
 * A range of time, as short as it can be.
 * @param {number} from
 * @param {number} to
 * @param {string} zone
 */
export function rangeText(from, to, zone) {
  /** @type {Intl.DateTimeFormatOptions} */
  const options = to - from < 3 * day
    ? { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }
    : { day: "numeric", month: "short", year: "numeric" };
  return format(zone, options).formatRange(from, to);
}

/**
 * A range as a request's query: up to now, since nothing is later, but never empty.
 * @param {{from: number, to: number}} range
 */
export function rangeQuery({ from, to }) {
  return { from: new Date(from).toISOString(), to: new Date(Math.min(to, Math.max(from + 1000, Date.now()))).toISOString() };
}

/**
 * The names of the days of the week, from Monday.
 * @param {"short" | "long"} width
 */
export function weekdays(width) {
  return [...Array(7).keys()].map((i) => format("UTC", { weekday: width }).format(Date.UTC(1970, 0, 5 + i)));
}

/**
 * The value of an input of type datetime-local.
 * @param {number} ms
 * @param {string} zone
 */
export function inputValue(ms, zone) {
  return new Date(wall(ms, zone)).toISOString().slice(0, 16);
}
