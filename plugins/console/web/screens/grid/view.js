/** Which rows are in sight. */
import { useEffect, useState } from '../../core/kit.js';
import { findDrawnRows } from './geometry.js';

/** Rows behind those that are drawn, at which the next page is loaded. */
const AHEAD = 25;

/**
 * The part of the box that is seen, and the rows that are drawn for it: from `first` up to the one
 * before `end`. The next page is loaded before its rows come into sight.
 */
export function useView(box, data) {
  const [view, setView] = useState({ top: 0, height: 600 });
  const count = data.rows.length;
  const { first, end } = findDrawnRows(view, count);
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
    if (end > count - AHEAD) data.more();
  }, [end, count, data.loading]);
  return { top: view.top, first, end, measure };
}
