/** Where the reader is in a table: the back button leads to the same rows and the same cell. */
import { useEffect, useRef } from '../../core/kit.js';
import { keepPlace, readPlace } from '../../core/router.js';

/** Milliseconds of rest before the place is kept: browsers bound how often a page may. */
const REST = 300;

/**
 * Restore the place once its rows are there, and keep each that follows. Returns what keeps it at
 * once, for before another page is opened.
 * @param {{current: any}} box @param {any} cursor @param {number} top @param {number} count
 * @param {(cursor: any) => void} setCursor
 */
export function usePlace(box, cursor, top, count, setCursor) {
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
    keepPlace({ count, row, col, top: scrollTop, left: scrollLeft });
  };
  useEffect(() => {
    if (!count || waiting.current) return undefined;
    const timer = setTimeout(keep, REST);
    return () => clearTimeout(timer);
  }, [top, cursor.row, cursor.col, count]);
  return keep;
}
