// Set-up: the webhook address, and whether callbacks arrive.

import { announce, h, put, setText } from "./dom.js";
import { number, t } from "./i18n.js";
import { followStatus, refusalList } from "./status.js";
import { dateTime } from "./time.js";

const quiet = 3 * 3_600_000; // milliseconds without events after which something may be wrong

/**
 * @param {import("./app.js").Context} context
 * @returns {import("./app.js").View}
 */
export function setupView({ title, zone }) {
  title(t("nav.setup"));
  const arrived = h("div", { class: "arrived", role: "status" });
  const refusals = h("div");
  const alarm = h("div");
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const url = h("output", { class: "url", for: "secret" });
  const copied = h("button", { type: "button", class: "primary", async onclick() {
    let done = "setup.copied";
    try {
      await navigator.clipboard.writeText(String(url.textContent));
    } catch {
      // Without https there is no clipboard, and the reader may refuse it.
      getSelection()?.selectAllChildren(url);
      done = "setup.selected";
    }
    setText(copied, t(done));
    announce(t(done));
  } }, t("setup.copy"));
  // The secret stays in this field: the service does not store it.
  const secret = h("input", { id: "secret", type: "text", autocomplete: "off", spellcheck: "false", placeholder: t("setup.secretHint"), oninput: drawURL });
  const secretBox = h("div", { class: "field" }, h("label", { for: "secret" }, t("setup.secret")), secret, h("p", { class: "quiet" }, t("setup.secretHelp")));
  let wanted = true;
  function drawURL() {
    const value = secret.value.trim();
    put(url, location.origin + "/webhooks/zapi" + (wanted ? "/" + (value ? encodeURIComponent(value) : t("setup.secretName")) : ""));
    copied.disabled = wanted && !value;
    setText(copied, t("setup.copy"));
  }
  /** @param {any} s */
  function show(s) {
    if (wanted !== s.webhookToken) {
      wanted = s.webhookToken;
      secretBox.hidden = !wanted;
      drawURL();
    }
    const last = s.instances.map((/** @type {any} */ i) => i.lastEventAt).sort().at(-1);
    const wrong = s.refusals.filter((/** @type {any} */ r) => r.reason === "unauthorized");
    const refused = wrong.reduce((/** @type {number} */ n, /** @type {any} */ r) => n + r.count, 0);
    const key = last ? (Date.parse(s.now) - Date.parse(last) < quiet ? "yes" : "before") : refused ? "refused" : "no";
    const name = { yes: "setup.arrived", before: "setup.before", refused: "setup.onlyRefused", no: "setup.waiting" }[key];
    const text = t(name, { at: last ? dateTime(last, zone) : "" });
    if (arrived.textContent !== text) {
      arrived.className = "arrived " + key;
      put(arrived, h("i", { class: "dot", "aria-hidden": "true" }), text);
    }
    // At the top, so that users notice it.
    put(alarm, refused > 0 && h("p", { class: "note bad" }, h("strong", {}, t("setup.wrongToken", { n: refused })), " ", t("setup.wrongTokenHelp"),
      " (" + t("refused.last", { at: dateTime(wrong.map((/** @type {any} */ r) => r.lastAt).sort().at(-1), zone) }) + ")"));
    alarm.hidden = refused === 0;
    put(refusals, refusalList(s, zone),
      s.ignored > 0 && h("p", { class: "quiet" }, t("setup.ignored", { n: s.ignored })));
  }
  drawURL();
  return {
    element: h("div", { class: "view setup" }, h("h1", {}, t("setup.title")), error, arrived, alarm,
      h("section", { class: "card" }, h("h2", {}, h("span", { class: "step", "aria-hidden": "true" }, number(1)), t("setup.address")), h("p", {}, t("setup.addressHelp")), secretBox,
        h("div", { class: "url-box" }, url, copied), location.protocol !== "https:" && h("p", { class: "note" }, t("setup.https"))),
      h("section", { class: "card" }, h("h2", {}, h("span", { class: "step", "aria-hidden": "true" }, number(2)), t("setup.zapi")),
        h("ol", { class: "prose" }, ["setup.zapi1", "setup.zapi2", "setup.zapi3"].map((name) => h("li", {}, t(name)))), h("p", { class: "note" }, t("setup.offline"))),
      h("section", { class: "card" }, h("h2", {}, h("span", { class: "step", "aria-hidden": "true" }, number(3)), t("setup.check")), h("p", {}, t("setup.checkHelp")), refusals)),
    close: followStatus(show, error),
  };
}
