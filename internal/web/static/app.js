// The page's frame: the header, and the view of the URL.

import { readSession, signIn, signOut, whenSignedOut } from "./api.js";
import { contactView } from "./contact.js";
import { h, put } from "./dom.js";
import { language, page, t } from "./i18n.js";
import { instancesView, instanceView } from "./instance.js";
import { nowView } from "./now.js";
import { applyTheme, browserZone, setLanguage, setTheme, setZone, theme, zoneOf } from "./prefs.js";
import { setupView } from "./setup.js";
import { statusView } from "./status.js";

/**
 * @typedef {object} Context what a view is given
 * @property {URLSearchParams} params the address's query
 * @property {string} zone the time zone that times are shown in
 * @property {(params: URLSearchParams, replace?: boolean) => void} go changes the query, by default as a new step back
 * @property {(title: string) => void} title
 *
 * @typedef {object} View
 * @property {Element} element
 * @property {(context: Context) => void} [update] takes another query of the same view; without it, or for another time zone,
 *   the view is rebuilt
 * @property {(context: Context) => boolean} [same] whether the query can be taken
 * @property {() => void} [close] stops what runs
 */

/** @type {Record<string, (context: Context) => View>} */
const views = {
  "/": nowView, "/contact": contactView, "/instances": instancesView, "/instance": instanceView,
  "/status": statusView, "/setup": setupView,
};

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const header = /** @type {HTMLElement} */ (document.getElementById("header"));
const leaveError = h("p", { class: "error", role: "alert", hidden: true });
/** @type {View | null} */
let view = null;
let shown = "", shownZone = "";
/** @type {{name: string, signedIn: boolean} | null} */
let session = null; // once known

/** Shows the view of the URL. */
function render() {
  const path = location.pathname;
  const params = new URLSearchParams(location.search);
  const context = {
    params,
    zone: zoneOf(params),
    /** @type {Context["go"]} */
    go(query, replace = false) {
      const to = path + (query.size ? "?" + query : "");
      if (replace) history.replaceState(null, "", to);
      else {
        history.pushState(null, "", to);
        render();
      }
    },
    title: (/** @type {string} */ title) => {
      document.title = title + " · presencelog";
    },
  };
  markCurrent();
  markZone(context.zone);
  if (view?.update && path === shown && context.zone === shownZone && (view.same?.(context) ?? true)) {
    view.update(context);
    return;
  }
  const moved = shown !== "";
  view?.close?.();
  shown = path;
  shownZone = context.zone;
  view = (views[path] ?? nowView)(context);
  put(main, page.demo && demoNote(), view.element);
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

/** Marks the link to the current view. */
function markCurrent() {
  const path = location.pathname;
  for (const link of header.querySelectorAll("nav a")) {
    const target = link.getAttribute("href");
    const current = target === path || (target === "/instances" && path === "/instance") || (target === "/" && path === "/contact");
    if (current) link.setAttribute("aria-current", target === path ? "page" : "true");
    else link.removeAttribute("aria-current");
  }
}

/**
 * Selects the time zone in the header: an address may have changed it.
 * @param {string} zone
 */
function markZone(zone) {
  const select = header.querySelector("select");
  if (select?.value !== zone) select?.closest("label")?.replaceWith(zoneChoice());
}

function demoNote() {
  return h("p", { class: "note demo" }, h("strong", {}, t("demo.title")), " ", t("demo.text"));
}

/** Shows the sign-in form instead of the view. */
function showSignIn() {
  if (shown === "sign-in") return;
  view?.close?.();
  view = null;
  shown = "sign-in";
  const error = h("p", { class: "error", role: "alert" });
  const token = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "token-help" });
  const form = h("form", {
    class: "card sign-in",
    async onsubmit(/** @type {Event} */ event) {
      event.preventDefault();
      try {
        await signIn(token.value);
        shown = "";
        showSession();
        render();
      } catch (e) {
        put(error, e instanceof Error ? e.message : "");
        token.focus();
      }
    },
  }, h("h1", {}, t("signIn.title")), h("p", { id: "token-help", class: "quiet" }, t("signIn.help")),
  h("label", { for: "token" }, t("signIn.token")), token, error, h("button", { class: "primary" }, t("signIn.button")));
  document.title = t("signIn.title") + " · presencelog";
  put(main, form);
  token.focus();
}

function drawHeader() {
  leaveError.hidden = true;
  const links = [["/", "nav.now"], ["/instances", "nav.instances"], ["/status", "nav.status"], ["/setup", "nav.setup"]];
  put(header,
    h("a", { class: "brand", href: "/" }, h("span", { class: "mark", "aria-hidden": "true" }, h("i"), h("i"), h("i")), "presencelog"),
    h("nav", { "aria-label": t("nav.label") }, links.map(([href, name]) => h("a", { href }, t(name)))),
    h("details", { class: "settings" },
      h("summary", {}, h("span", { class: "gear", "aria-hidden": "true" }), h("span", { class: "word" }, t("settings"))),
      h("div", { class: "panel" }, zoneChoice(), languageChoice(), themeChoice(),
        session?.signedIn && [h("button", { type: "button", class: "leave", onclick: leave }, t("signOut", { name: session.name })), leaveError])));
}

async function showSession() {
  session = await readSession();
  drawHeader();
  markCurrent();
}

async function leave() {
  try {
    await signOut();
  } catch (e) {
    leaveError.hidden = false; // the session goes on
    put(leaveError, e instanceof Error ? e.message : "");
    return;
  }
  session = null;
  drawHeader();
  showSignIn();
}

function zoneChoice() {
  const zones = ["UTC", ...Intl.supportedValuesOf("timeZone").filter((z) => z !== "UTC")];
  const current = zoneOf(new URLSearchParams(location.search));
  if (!zones.includes(current)) zones.unshift(current);
  return choice("settings.zone", zones.map((z) => [z, z === browserZone() ? t("settings.zoneHere", { zone: z }) : z]), current, (zone) => {
    setZone(zone);
    const params = new URLSearchParams(location.search);
    params.delete("tz");
    history.replaceState(null, "", location.pathname + (params.size ? "?" + params : ""));
    render();
  });
}

function languageChoice() {
  return choice("settings.language", [["en", "English"], ["pt-BR", "Português (Brasil)"]], language, (value) => {
    setLanguage(value);
    location.reload();
  });
}

function themeChoice() {
  return choice("settings.theme", ["auto", "light", "dark"].map((v) => [v, t("theme." + v)]), theme(), setTheme);
}

/**
 * @param {string} name
 * @param {string[][]} options
 * @param {string} current
 * @param {(value: string) => void} onchange
 */
function choice(name, options, current, onchange) {
  return h("label", {}, t(name), h("select", {
    onchange: (/** @type {any} */ e) => onchange(e.target.value),
  }, options.map(([value, text]) => h("option", { value, selected: value === current }, text))));
}

// Links within the page change the view without loading the document again.
document.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest?.("a[href]");
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || link.download || link.target) return;
  if (link.origin !== location.origin || !(link.pathname in views) || link.getAttribute("href")?.startsWith("#")) return;
  event.preventDefault();
  if (link.href !== location.href) history.pushState(null, "", link.href);
  render();
});
document.addEventListener("click", (event) => {
  const open = header.querySelector("details[open]");
  if (open && !open.contains(/** @type {Node} */ (event.target))) open.removeAttribute("open");
});
document.addEventListener("keydown", (event) => {
  const open = header.querySelector("details[open]");
  if (open && event.key === "Escape") {
    open.removeAttribute("open");
    open.querySelector("summary")?.focus();
  }
});
addEventListener("popstate", render);

applyTheme();
whenSignedOut(showSignIn);
drawHeader();
render();
showSession();
