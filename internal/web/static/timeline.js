// The timeline: lanes of one or more contacts on one time axis, moved and zoomed by mouse, touch and keys.

import { announce, h, put, s } from "./dom.js";
import { duration, percent, t } from "./i18n.js";
import { columnPaths, measures, position, spanAt, spanPaths, intervalPath } from "./lanes.js";
import { axis, hatching, nowLine } from "./axis.js";
import { gestures } from "./gestures.js";
import { dateTime } from "./time.js";

/**
 * @typedef {import("./lanes.js").Span} Span
 * @typedef {object} Track what is known of a contact in a range of time
 * @property {string} label
 * @property {Span[]} spans
 * @property {import("./lanes.js").Column[] | null} columns instead of spans where those are too many
 * @property {{start: number, end: number}[]} unknown
 *
 * @typedef {object} Range
 * @property {number} from
 * @property {number} to
 */

const shortest = 60_000, longest = 366 * 86_400_000;
const axisHeight = 26, laneGap = 8, trackGap = 22, captionHeight = 17;

/**
 * @param {object} options
 * @param {string} options.zone
 * @param {(range: Range, settled: boolean) => void} options.onrange the reader moved or zoomed
 */
export function timeline({ zone, onrange }) {
  /** @type {Track[]} */
  let tracks = [];
  /** @type {Range} */
  let view = { from: 0, to: 1 };
  let width = 800;
  /** @type {{track: number, measure: string, spans: Span[], y: number}[]} */
  let lanes = [];
  /** @type {Span | null} */
  let chosen = null;
  let laneHeight = 24;
  let frame = 0;
  let closed = false;

  const svg = s("svg", { "aria-hidden": "true" });
  const tip = h("div", { class: "tip", hidden: true });
  const keys = h("p", { class: "sr", id: "timeline-keys" }, t("timeline.keys"));
  const plot = h("div", {
    class: "plot", tabindex: 0, role: "group", "aria-roledescription": t("timeline.role"), "aria-label": t("timeline.label"),
    "aria-describedby": "timeline-keys", onkeydown: onKey, onpointermove: onHover, onpointerleave: hideTip, onblur: hideTip,
  }, svg, tip);
  const observer = new ResizeObserver(() => {
    width = plot.clientWidth || width;
    draw();
  });
  observer.observe(plot);
  gestures(plot, { scale, pan: panPixels, zoom, settle: () => report(true) });

  function gutter() {
    return width >= 640 ? 96 : 0;
  }

  function scale() {
    return { from: view.from, to: view.to, x: gutter(), width: Math.max(50, width - gutter()) };
  }

  function draw() {
    if (!frame) {
      frame = requestAnimationFrame(() => {
        frame = 0;
        paint();
      });
    }
  }

  function paint() {
    const sc = scale();
    const captioned = sc.x === 0;
    /** @type {Element[]} */
    const parts = [];
    let y = axisHeight;
    laneHeight = tracks.length > 1 ? 24 : 34;
    lanes = [];
    tracks.forEach((track, index) => {
      if (tracks.length > 1) {
        parts.push(s("text", { class: "track", x: 0, y: y + 12 }, track.label));
        y += 20;
      }
      for (const measure of measures) {
        if (captioned) y += captionHeight;
        const box = { y, height: laneHeight };
        const spans = track.spans.filter((span) => span.measure === measure);
        const { sure, unsure } = track.columns ? columnPaths(track.columns, measure, sc, box) : spanPaths(spans, sc, box);
        parts.push(
          s("rect", { class: "lane", x: sc.x, y, width: sc.width, height: laneHeight, rx: 3 }),
          s("path", { class: "unknown", d: intervalPath(track.unknown, sc, box) }),
          s("path", { class: "unsure " + measure, d: unsure }), s("path", { class: "sure " + measure, d: sure }),
          s("text", { class: "caption", x: 0, y: captioned ? y - 5 : y + laneHeight / 2 + 4 }, t("measure." + measure)));
        lanes.push({ track: index, measure, spans, y });
        y += laneHeight + laneGap;
      }
      y += trackGap - laneGap;
    });
    const bottom = y - trackGap + 4;
    put(svg, hatching(), axis(sc, axisHeight - 6, bottom, zone), parts, nowLine(sc, axisHeight - 6, bottom), outline(sc));
    svg.setAttribute("width", String(width));
    svg.setAttribute("height", String(bottom + 4));
    svg.setAttribute("viewBox", `0 0 ${width} ${bottom + 4}`);
  }

  /** @param {import("./lanes.js").Scale} sc */
  function outline(sc) {
    for (const lane of lanes) {
      const span = lane.spans.find(isChosen);
      if (!span || span.end < view.from || span.start > view.to) continue;
      const x = Math.max(sc.x, position(span.start, sc));
      const w = Math.max(2, Math.min(sc.x + sc.width, position(span.end, sc)) - x);
      return s("rect", { class: "chosen", x: x - 2, y: lane.y - 2, width: w + 4, height: laneHeight + 4, rx: 4 });
    }
    return null;
  }

  /**
   * Whether it is the chosen span, also after its track was loaded again.
   * @param {Span} span
   */
  function isChosen(span) {
    return chosen !== null && span.track === chosen.track && span.measure === chosen.measure && span.start === chosen.start;
  }

  /**
   * The range that a move may reach.
   * @param {Range} range
   */
  function clamp({ from, to }) {
    const length = Math.min(longest, Math.max(shortest, to - from));
    const end = Math.min(to, Date.now() + length * 0.05);
    return { from: end - length, to: end };
  }

  /**
   * @param {Range} range
   * @param {boolean} [settled]
   */
  function move(range, settled = false) {
    view = clamp(range);
    draw();
    report(settled);
  }

  /** @param {boolean} settled */
  function report(settled) {
    if (!closed) onrange(view, settled);
  }

  /** @param {number} pixels */
  function panPixels(pixels) {
    const ms = (pixels / scale().width) * (view.to - view.from);
    move({ from: view.from + ms, to: view.to + ms });
  }

  /**
   * Zooms around a place.
   * @param {number} factor under 1 is closer
   * @param {number} [x] pixels from the left; by default the middle, or now if that is in sight at the right
   */
  function zoom(factor, x) {
    const sc = scale();
    const share = x === undefined ? 0.5 : Math.min(1, Math.max(0, (x - sc.x) / sc.width));
    const length = Math.min(longest, Math.max(shortest, (view.to - view.from) * factor));
    const at = view.from + share * (view.to - view.from);
    move({ from: at - share * length, to: at + (1 - share) * length });
  }

  /**
   * Goes there in a short while, at once for who wants no motion.
   * @param {Range} range
   */
  function glide(range) {
    const start = { ...view }, goal = clamp(range), began = performance.now();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden) return move(goal, true);
    const step = (/** @type {number} */ time) => {
      const p = Math.min(1, Math.max(0, (time - began) / 180)), ease = 1 - (1 - p) ** 3;
      move({ from: start.from + (goal.from - start.from) * ease, to: start.to + (goal.to - start.to) * ease }, p === 1);
      if (p < 1 && !closed) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** @param {number} share of the range, to the right */
  function pan(share) {
    const ms = share * (view.to - view.from);
    glide({ from: view.from + ms, to: view.to + ms });
  }

  /** @param {number} factor */
  function zoomTo(factor) {
    const length = (view.to - view.from) * factor;
    const now = Date.now();
    // If now is at the end of the range, it keeps its position.
    const share = now >= view.from && now <= view.to && now > view.to - (view.to - view.from) * 0.1 ? (now - view.from) / (view.to - view.from) : 0.5;
    const at = view.from + share * (view.to - view.from);
    glide({ from: at - share * length, to: at + (1 - share) * length });
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = /** @type {Record<string, () => void>} */ ({
      ArrowLeft: () => pan(event.shiftKey ? -0.9 : -0.2), ArrowRight: () => pan(event.shiftKey ? 0.9 : 0.2),
      "+": () => zoomTo(0.5), "=": () => zoomTo(0.5), "-": () => zoomTo(2), _: () => zoomTo(2),
      n: () => choose(1), p: () => choose(-1), Escape: hideTip,
      End: () => glide({ from: Date.now() - (view.to - view.from), to: Date.now() }),
    })[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /**
   * Goes to the next or previous span in sight, lane by lane.
   * @param {number} step
   */
  function choose(step) {
    const list = lanes.flatMap((lane) => lane.spans.filter((x) => x.end > view.from && x.start < view.to).map((span) => ({ lane, span })));
    if (list.length === 0) return;
    const i = list.findIndex(({ span }) => isChosen(span));
    const { lane, span } = list[i < 0 ? (step > 0 ? 0 : list.length - 1) : (i + step + list.length) % list.length];
    chosen = span;
    showTip(lane, span, position((span.start + span.end) / 2, scale()));
    announce(describe(span));
    draw();
  }

  /** @param {Span} span */
  function describe(span) {
    return [t("measure." + span.measure), dateTime(span.start, zone), dateTime(span.end, zone),
      duration((span.end - span.start) / 1000), t("ended." + span.endedBy)].join(", ");
  }

  /** @param {PointerEvent} event */
  function onHover(event) {
    if (event.buttons || event.pointerType === "touch") return;
    const box = plot.getBoundingClientRect();
    showAt(event.clientX - box.left, event.clientY - box.top);
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  function showAt(x, y) {
    const sc = scale();
    const lane = lanes.find((l) => y >= l.y - laneGap / 2 && y < l.y + laneHeight + laneGap / 2);
    if (!lane || x < sc.x) return hideTip();
    const at = view.from + ((x - sc.x) / sc.width) * (view.to - view.from);
    const track = tracks[lane.track];
    const column = track.columns?.find((c) => at >= c.start && at < c.end);
    const span = spanAt(lane.spans, at, ((view.to - view.from) / sc.width) * 4);
    const hadChosen = chosen;
    chosen = span;
    if (span) showTip(lane, span, x);
    else if (column && column.lanes[/** @type {import("./lanes.js").Measure} */ (lane.measure)].share > 0) {
      const { share } = column.lanes[/** @type {import("./lanes.js").Measure} */ (lane.measure)];
      place(x, lane.y, [h("strong", {}, t("measure." + lane.measure) + " " + percent(share)),
        h("span", {}, t("timeline.of", { length: duration((column.end - column.start) / 1000) })), h("span", {}, dateTime(column.start, zone))]);
    } else if (track.unknown.some((u) => at >= u.start && at < u.end)) place(x, lane.y, [h("strong", {}, t("timeline.unknown"))]);
    else hideTip();
    if (hadChosen !== chosen) draw();
  }

  /**
   * @param {{y: number}} lane
   * @param {Span} span
   * @param {number} x
   */
  function showTip(lane, span, x) {
    place(x, lane.y, [
      h("strong", {}, t("measure." + span.measure) + " " + duration((span.end - span.start) / 1000)),
      h("span", {}, dateTime(span.start, zone)), h("span", {}, "– " + (span.endedBy === "open" ? t("ended.open") : dateTime(span.end, zone))),
      h("span", {}, t("timeline.confirmed", { length: duration(Math.max(0, span.sureUntil - span.start) / 1000) }) +
        (span.endedBy === "open" ? "" : " · " + t("ended." + span.endedBy))),
    ]);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {Element[]} content
   */
  function place(x, y, content) {
    put(tip, content);
    tip.hidden = false;
    const left = Math.max(0, Math.min(width - tip.offsetWidth, x - tip.offsetWidth / 2));
    const above = y - tip.offsetHeight - 10;
    tip.style.transform = `translate(${left}px, ${above > -60 ? above : y + laneHeight + 10}px)`;
  }

  function hideTip() {
    tip.hidden = true;
    if (chosen) {
      chosen = null;
      draw();
    }
  }

  return {
    element: h("div", { class: "timeline" }, keys, plot),
    pan,
    zoom: zoomTo,
    plotWidth: () => scale().width,
    /** @param {Track[]} list */
    setTracks(list) {
      tracks = list;
      draw();
    },
    /** @param {Range} range any, so that the picture shows what the address names */
    setRange(range) {
      view = range;
      draw();
    },
    /** @param {Span | null} span */
    highlight(span) {
      chosen = span;
      draw();
    },
    close() {
      closed = true;
      observer.disconnect();
      cancelAnimationFrame(frame);
    },
  };
}
