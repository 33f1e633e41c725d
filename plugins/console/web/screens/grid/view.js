/** What of the table is in sight, and where the reader is in it. */
import { useEffect, useLayoutEffect, useRef, useState } from '../../core/kit.js';
import { keepPlace, readPlace } from '../../core/router.js';
import { HEIGHT, clamp, findDrawnLines } from './layout.js';

/** Rows behind those that are drawn, at which the next page is loaded; more, the larger it is. */
const AHEAD = 150;
const FURTHEST = 500;
/** Milliseconds of rest before rows are loaded where the reader has dragged the scroll bar. */
const DRAGGED = 100;
/** Lines that a browser can scroll: it draws nothing beyond some millions of pixels. */
const MOST_LINES = 400_000;

/**
 * The part of the box that is seen, and what is drawn for it: heads of groups, and the rows from
 * `first` up to the one before `end`. Other rows are loaded before they come into sight.
 */
export function useView(box, data, plan) {
  const [view, setView] = useState({ top: 0, height: 600 });
  const { rows, base, total, loading } = data;
  const count = rows.length;
  const rowLines = plan.lineOf(Math.max(total ?? 0, base + count));
  const lines = rowLines + plan.heads.filter((head) => head.line >= rowLines).length;
  const origin = useOrigin(box, plan.lineOf(base), count, lines);
  const { line, endLine } = findDrawnLines(view, origin);
  const from = plan.rowAt(line);
  const behind = plan.rowAt(endLine);
  const isElsewhere = total !== null && (from >= base + count || behind <= base);
  const measure = () => {
    const element = box.current;
    if (element) setView({ top: element.scrollTop, height: element.clientHeight });
  };
  useEffect(() => {
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  useEffect(() => {
    data.seen.current = { first: from, end: behind };
    if (!isElsewhere || !count) return undefined;
    const timer = setTimeout(() => data.jump(from), DRAGGED);
    return () => clearTimeout(timer);
  }, [from, isElsewhere]);
  useEffect(() => {
    if (isElsewhere || loading) return;
    const isNearEnd = behind > base + count - clamp(count / 4, AHEAD, FURTHEST);
    if (isNearEnd && !data.done) data.more();
    else if (from < base + AHEAD) data.before();
  }, [from, behind, base, count, loading, data.done]);
  const topOf = (index) => (plan.lineOf(base + index) - origin) * HEIGHT;
  const isSeen = (head) => head.line >= line && head.line < endLine;
  return {
    topOf,
    lines,
    height: Math.min(lines - origin, MOST_LINES),
    top: view.top,
    first: clamp(from - base, 0, count),
    end: clamp(behind - base, 0, count),
    heads: plan.heads
      .filter(isSeen)
      .map((head) => ({ ...head, top: (head.line - origin) * HEIGHT })),
    measure,
  };
}

/** The line at the top of what can be scrolled: not the first one where there are too many. */
function useOrigin(box, line, count, lines) {
  const origin = useRef(0);
  const drawn = useRef(0);
  const isInside = line >= origin.current && line + count <= origin.current + MOST_LINES;
  if (lines <= MOST_LINES) origin.current = 0;
  else if (!isInside) origin.current = Math.max(0, line - MOST_LINES / 2);
  useLayoutEffect(() => {
    if (drawn.current === origin.current) return;
    box.current.scrollTop += (drawn.current - origin.current) * HEIGHT;
    drawn.current = origin.current;
  });
  return origin.current;
}

// --- where the reader is in a table: the back button leads to the same rows and the same cell

/** Milliseconds of rest before the place is kept: browsers bound how often a page may. */
const REST = 300;

/**
 * Restore the place once its rows are there, and keep each that follows. Returns what keeps it at
 * once, for before another page is opened.
 * @param {{current: any}} box @param {any} cursor @param {number} top @param {any} data
 * @param {(cursor: any) => void} setCursor
 */
export function usePlace(box, cursor, top, data, setCursor) {
  const count = data.rows.length;
  const { base } = data;
  const waiting = useRef(readPlace());
  useEffect(() => {
    const place = waiting.current;
    if (!place || !count || !box.current) return;
    waiting.current = null;
    setCursor({ row: place.row, col: place.col, from: null });
    box.current.scrollTop = place.top;
    box.current.scrollLeft = place.left;
  }, [count]);
  const keep = () => {
    // An effect may still run when the table is gone: the history shows another page by then.
    if (!box.current) return;
    const { scrollTop, scrollLeft } = box.current;
    const { row, col } = cursor;
    keepPlace({ base, count, row, col, top: scrollTop, left: scrollLeft });
  };
  useEffect(() => {
    if (!count || waiting.current) return undefined;
    const timer = setTimeout(keep, REST);
    return () => clearTimeout(timer);
  }, [top, cursor.row, cursor.col, count, location.hash]);
  return keep;
}

// --- the cursor, when other rows are loaded

/**
 * The cursor stays at its row when rows come before it, and follows where the reader jumps to.
 * Returns what goes to a row by its number among all.
 */
export function useJump(box, data, cursor, { setCursor, move, measure }) {
  const { rows, base, fresh } = data;
  const formerBase = useRef(base);
  const formerFresh = useRef(fresh);
  const wanted = useRef(null);
  const isThere = (row) => row >= base && row < base + rows.length;
  useLayoutEffect(() => {
    const shift = formerBase.current - base;
    const isOther = formerFresh.current !== fresh;
    formerBase.current = base;
    formerFresh.current = fresh;
    if (isOther && formerFresh.current > 1) {
      // Other rows, or another order: they are seen from the first one on.
      box.current.scrollTop = 0;
      setCursor({ ...cursor, row: 0, from: null });
    } else if (shift) {
      const shiftRow = (row) => clamp(row + shift, 0, rows.length - 1);
      const from = cursor.from && { ...cursor.from, row: shiftRow(cursor.from.row) };
      setCursor({ ...cursor, row: shiftRow(cursor.row), from });
    } else if (rows.length && cursor.row >= rows.length) {
      setCursor({ ...cursor, row: rows.length - 1, from: null });
    }
    const { current: target } = wanted;
    if (target && isThere(target.row)) {
      move(target.row - base, target.col);
      wanted.current = null;
      measure();
    }
  }, [rows]);
  return (row, col = cursor.col) => {
    if (isThere(row)) {
      move(row - base, col);
    } else if (row >= 0) {
      wanted.current = { row, col };
      data.jump(row);
    }
  };
}
