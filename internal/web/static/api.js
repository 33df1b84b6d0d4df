// Requests to the read API, and its errors.

import { t } from "./i18n.js";

/** An error with a sentence for the reader. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @type {() => void} */
let onSignedOut = () => {};

/**
 * Sets the function to call when the service needs a token.
 * @param {() => void} f
 */
export function whenSignedOut(f) {
  onSignedOut = f;
}

/**
 * The address of a resource.
 * @param {string[]} path
 * @param {Record<string, any>} [query]
 */
export function address(path, query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") params.append(name, String(one));
    }
  }
  const escaped = path.map(encodeURIComponent).join("/");
  return "/v1/" + escaped + (params.size ? "?" + params : "");
}

/**
 * Reads JSON.
 * @param {string[]} path
 * @param {Record<string, any>} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, query, signal) {
  // Browsers resolve these, even escaped: the request would be for something else.
  if (path.some((name) => name === "." || name === "..")) throw new ApiError(404, t("error.notFound"));
  let response;
  try {
    response = await fetch(address(path, query), { signal, headers: { Accept: "application/json" } });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, t("error.offline"));
  }
  if (response.ok) return response.json();
  if (response.status === 401) onSignedOut();
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(response.status, response.status === 404 ? t("error.notFound") : problem.detail ?? t("error.other"));
}

/** Requests of which only the latest counts: next aborts those before it and returns its signal. After stop there are none. */
export function latest() {
  let aborter = new AbortController();
  let stopped = false;
  return {
    next() {
      aborter.abort();
      if (!stopped) aborter = new AbortController();
      return aborter.signal;
    },
    stop() {
      stopped = true;
      aborter.abort();
    },
  };
}

const retryEvery = 5000;

/**
 * Runs a request again later if its error may pass, unless it is aborted before. A hidden page waits.
 * @param {unknown} error
 * @param {AbortSignal} signal
 * @param {() => void} again
 */
export function retry(error, signal, again) {
  if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) return;
  const timer = setInterval(() => {
    if (signal.aborted) clearInterval(timer);
    else if (!document.hidden) {
      clearInterval(timer);
      again();
    }
  }, retryEvery);
}

/**
 * Signs in with a token. The service sets a cookie that scripts cannot read.
 * @param {string} token
 */
export async function signIn(token) {
  const response = await fetch("/session", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
  }).catch(() => null);
  const status = response?.status ?? 0;
  if (!response?.ok) throw new ApiError(status, t(status === 401 || status === 403 ? "signIn.wrong" : "error.other"));
}

/**
 * Returns the session; null if the service needs a token.
 * @returns {Promise<{name: string, signedIn: boolean} | null>}
 */
export async function readSession() {
  const response = await fetch("/session").catch(() => null);
  return response?.ok ? response.json() : null;
}

export async function signOut() {
  const response = await fetch("/session", { method: "DELETE" }).catch(() => null);
  if (!response?.ok) throw new ApiError(response?.status ?? 0, t("error.other"));
}
