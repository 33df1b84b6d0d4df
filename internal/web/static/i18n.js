// Texts, numbers and durations in the reader's language.

/** @type {{language: string, texts: Record<string, any>, version: string, demo: boolean}} */
export const page = JSON.parse(document.getElementById("data")?.textContent ?? "{}");

export const language = page.language;
const plural = new Intl.PluralRules(language);
const integers = new Intl.NumberFormat(language);

/**
 * Returns a text with values in place of {name}. The value n selects a plural form.
 * @param {string} name
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(name, values = {}) {
  let text = page.texts[name] ?? name;
  if (typeof text === "object") text = text[plural.select(Number(values.n))] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (/** @type {string} */ _, /** @type {string} */ key) => {
    const value = values[key] ?? "";
    return typeof value === "number" ? number(value) : value;
  });
}

/** @param {number} n */
export function number(n) {
  return integers.format(n);
}

/** @param {number} share from 0 to 1 */
export function percent(share) {
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(share);
}

/**
 * Formats a duration with its two largest units.
 * @param {number | null} seconds
 */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10 && seconds % 1 > 0.05) return t("unit.s", { n: Math.round(seconds * 10) / 10 });
  const whole = Math.round(seconds);
  const units = [
    ["unit.d", 86400],
    ["unit.h", 3600],
    ["unit.min", 60],
    ["unit.s", 1],
  ];
  for (let i = 0; i < units.length; i++) {
    const [name, size] = /** @type {[string, number]} */ (units[i]);
    if (whole < size && i < units.length - 1) continue;
    const first = t(name, { n: Math.floor(whole / size) });
    const next = units[i + 1];
    const rest = next ? Math.floor((whole % size) / Number(next[1])) : 0;
    return rest > 0 && next ? first + " " + t(String(next[0]), { n: rest }) : first;
  }
  return "";
}

/**
 * Formats a phone: groups digits of a Brazilian number, names a group, does not change others.
 * @param {string} phone
 */
export function phoneText(phone) {
  const m = /^55(\d\d)(\d{4,5})(\d{4})$/.exec(phone);
  if (m) return `+55 ${m[1]} ${m[2]}-${m[3]}`;
  const group = /^(\d{10,}(?:-\d+)?)-group$/.exec(phone);
  return group ? t("phone.group", { id: group[1] }) : phone;
}

/**
 * The phone, or part of one, that a reader has typed: the digits, if it is written as this page writes it.
 * @param {string} text
 */
export function phoneOf(text) {
  const trimmed = text.trim();
  return /^\+[\d ()-]+$/.test(trimmed) ? trimmed.replace(/\D/g, "") : trimmed;
}

/**
 * The displayed name of a status.
 * @param {string} status
 */
export function statusText(status) {
  return t("status." + status);
}
