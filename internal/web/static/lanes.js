// The geometry of a lane: converts spans or columns to outlines.

/** @typedef {"inChat" | "typing" | "recording"} Measure */
/** @type {Measure[]} */
export const measures = ["inChat", "typing", "recording"];

/**
 * @typedef {object} Span an interval of time; it is confirmed from its start until sureUntil
 * @property {number} track the place of its contact among those shown
 * @property {Measure} measure
 * @property {number} start
 * @property {number} end up to now while it runs
 * @property {number} sureUntil
 * @property {number} events
 * @property {string} endedBy
 *
 * @typedef {object} Column what share of a slice of time a lane takes
 * @property {number} start
 * @property {number} end
 * @property {Record<Measure, {share: number, sure: number}>} lanes
 *
 * @typedef {object} Scale
 * @property {number} from
 * @property {number} to
 * @property {number} x where the range begins
 * @property {number} width
 *
 * @typedef {object} Box
 * @property {number} y
 * @property {number} height
 */

const leastHeight = 4; // of short spans, so that they are visible
const leastWidth = 1.5; // narrower spans share columns of a pixel

/**
 * @param {number} at
 * @param {Scale} scale
 */
export function position(at, scale) {
  return scale.x + ((at - scale.from) / (scale.to - scale.from)) * scale.width;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} w
 * @param {number} h
 * @param {number} [left] radius of the corners
 * @param {number} [right]
 */
function rect(x, y, w, h, left = 0, right = 0) {
  const f = (/** @type {number} */ n) => Math.round(n * 100) / 100;
  if (!left && !right) return `M${f(x)} ${f(y)}h${f(w)}v${f(h)}h${f(-w)}z`;
  return `M${f(x + left)} ${f(y)}h${f(w - left - right)}q${right} 0 ${right} ${right}v${f(h - 2 * right)}q0 ${right} ${-right} ${right}` +
    `h${f(-(w - left - right))}q${-left} 0 ${-left} ${-left}v${f(-(h - 2 * left))}q0 ${-left} ${left} ${-left}z`;
}

/**
 * The outlines of confirmed and uncertain time. A span narrower than a pixel or two adds to the columns it touches,
 * which are as high as its share of their time, and always visible.
 * @param {Span[]} spans of one lane, in order
 * @param {Scale} scale
 * @param {Box} box
 */
export function spanPaths(spans, scale, box) {
  let sure = "", unsure = "";
  /** @type {Map<number, {all: number, sure: number}>} */
  const columns = new Map();
  const right = scale.x + scale.width;
  for (const span of spans) {
    if (span.end < scale.from || span.start > scale.to) continue;
    const a = Math.max(scale.x, position(span.start, scale));
    const b = Math.min(right, position(span.end, scale));
    const c = Math.min(b, Math.max(a, position(span.sureUntil, scale)));
    if (b - a < leastWidth) {
      for (let column = Math.floor(a); column <= Math.min(b, right - 1); column++) {
        const sum = columns.get(column) ?? { all: 0, sure: 0 };
        sum.all += Math.max(0, Math.min(b, column + 1) - Math.max(a, column));
        sum.sure += Math.max(0, Math.min(c, column + 1) - Math.max(a, column));
        columns.set(column, sum);
      }
      continue;
    }
    const radius = Math.min(3, (b - a) / 2);
    if (c - a > 0.3) sure += rect(a, box.y, c - a, box.height, Math.min(radius, (c - a) / 2), b - c < 0.3 ? Math.min(radius, (c - a) / 2) : 0);
    if (b - c > 0.3) unsure += rect(c, box.y, b - c, box.height, c - a < 0.3 ? Math.min(radius, (b - c) / 2) : 0, Math.min(radius, (b - c) / 2));
  }
  for (const [column, sum] of columns) {
    const height = Math.min(box.height, Math.max(leastHeight, sum.all * box.height));
    const solid = sum.all > 0 ? (height * sum.sure) / sum.all : 0;
    if (solid > 0) sure += rect(column, box.y + box.height - solid, 1, solid);
    if (height > solid) unsure += rect(column, box.y + box.height - height, 1, height - solid);
  }
  return { sure, unsure };
}

/**
 * The same for columns that the server summed up.
 * @param {Column[]} columns
 * @param {Measure} measure
 * @param {Scale} scale
 * @param {Box} box
 */
export function columnPaths(columns, measure, scale, box) {
  let sure = "", unsure = "";
  for (const column of columns) {
    const lane = column.lanes[measure];
    if (lane.share <= 0 || column.end < scale.from || column.start > scale.to) continue;
    const a = Math.max(scale.x, position(column.start, scale));
    const w = Math.max(1, Math.min(scale.x + scale.width, position(column.end, scale)) - a);
    const height = Math.max(leastHeight, lane.share * box.height);
    const solid = (height * lane.sure) / lane.share;
    if (solid > 0) sure += rect(a, box.y + box.height - solid, w, solid);
    if (height > solid) unsure += rect(a, box.y + box.height - height, w, height - solid);
  }
  return { sure, unsure };
}

/**
 * The outline of intervals of time.
 * @param {{start: number, end: number}[]} list
 * @param {Scale} scale
 * @param {Box} box
 */
export function intervalPath(list, scale, box) {
  let path = "";
  for (const { start, end } of list) {
    if (end <= scale.from || start >= scale.to) continue;
    const a = Math.max(scale.x, position(start, scale));
    const b = Math.min(scale.x + scale.width, position(end, scale));
    path += rect(a, box.y, Math.max(1, b - a), box.height);
  }
  return path;
}

/**
 * The span at a moment, or the nearest one within a tolerance.
 * @param {Span[]} spans
 * @param {number} at
 * @param {number} tolerance milliseconds
 */
export function spanAt(spans, at, tolerance) {
  let best = null, distance = tolerance;
  for (const span of spans) {
    const d = at < span.start ? span.start - at : at > span.end ? at - span.end : 0;
    if (d <= distance) {
      best = span;
      distance = d;
      if (d === 0) break;
    }
  }
  return best;
}
