// Says in words when a contact is usually here.

import { t } from "./i18n.js";
import { weekdays } from "./time.js";

const usual = 0.6; // minimum share of the weeks
const mostRuns = 2, mostDays = 3;

/**
 * @typedef {object} Run hours one after another
 * @property {string} days
 * @property {number} from
 * @property {number} to
 * @property {number} weight how much of them the contact was here
 */

/**
 * First the working days and the weekend as a whole; if these have no usual hours, single days.
 * @param {{weekday: number, hour: number, share: number}[]} cells
 */
export function habitText(cells) {
  const workdays = runs(cells, [1, 2, 3, 4, 5], t("habits.workdays")).slice(0, mostRuns);
  const weekend = runs(cells, [6, 7], t("habits.weekend")).slice(0, mostRuns);
  let list = [...workdays, ...weekend];
  if (workdays.length === 1 && weekend.length === 1 && workdays[0].from === weekend[0].from && workdays[0].to === weekend[0].to) {
    list = [{ ...workdays[0], days: t("habits.daily") }];
  }
  if (list.length === 0) {
    list = weekdays("long").flatMap((name, i) => runs(cells, [i + 1], t("habits.on", { day: name })));
    list = list.sort((a, b) => b.weight - a.weight).slice(0, mostDays);
  }
  if (list.length === 0) return t("habits.none");
  const parts = list.map(({ days, from, to }) => t("habits.range", { days, from, to }));
  return t("habits.usually", { when: new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" }).format(parts) });
}

/**
 * The runs of usual hours on these days together, the most usual first.
 * @param {{weekday: number, hour: number, share: number}[]} cells
 * @param {number[]} on
 * @param {string} days
 * @returns {Run[]}
 */
function runs(cells, on, days) {
  const shares = Array(24).fill(0);
  for (const c of cells) if (on.includes(c.weekday)) shares[c.hour] += c.share / on.length;
  const list = [];
  for (let from = 0; from < 24; from++) {
    if (shares[from] < usual) continue;
    let to = from, weight = 0;
    while (to < 24 && shares[to] >= usual) weight += shares[to++];
    list.push({ days, from, to, weight });
    from = to;
  }
  return list.sort((a, b) => b.weight - a.weight);
}
