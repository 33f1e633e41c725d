/** Records that others have changed since they were loaded before are marked for a second. */
import { useEffect, useRef, useState } from '../../core/kit.js';

/** Milliseconds for which changes of others are marked. */
export const MARKED = 1000;
const NONE = new Set();

/**
 * The ids of rows that have changed since the last load of the same `key`.
 * @param {any[]|undefined} rows @param {string} key @param {boolean} hasPages More rows may come behind
 *   those that are there, which are no change.
 * @returns {Set<string>}
 */
export function useMarks(rows, key, hasPages = false) {
  const [marks, setMarks] = useState(NONE);
  const before = useRef({ key: '', times: new Map() });
  useEffect(() => {
    if (!rows?.length) return undefined;
    const { key: formerKey, times } = before.current;
    before.current = { key, times: new Map(rows.map((row) => [row.id, row.updated_at])) };
    if (key !== formerKey) return undefined;
    const isChanged = ({ id, updated_at: time }) =>
      times.get(id) !== time && (times.has(id) || !hasPages);
    const changed = rows.filter(isChanged);
    if (!changed.length) return undefined;
    setMarks(new Set(changed.map(({ id }) => id)));
    const timer = setTimeout(() => setMarks(NONE), MARKED);
    return () => clearTimeout(timer);
  }, [rows]);
  return marks;
}
