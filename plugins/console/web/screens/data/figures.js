/** Figures below the columns of a table: kept in its address, asked of the server. */
import { useEffect, useState } from '../../core/kit.js';
import { setQuery } from '../../core/router.js';
import { fail } from '../../core/ui.js';
import { loadFigures } from './rows.js';

/** `value.sum,close_date.max` as `{value: 'sum', close_date: 'max'}`, of the shown fields. */
export function readFigures(text, fields) {
  const pairs = (text ?? '').split(',').map((part) => part.split('.'));
  const isShown = ([name]) => fields.some((field) => field.name === name);
  return Object.fromEntries(pairs.filter(isShown));
}

/** Show another figure below a column; null for none. */
export function setFigure(figures, fieldName, kind) {
  const changed = Object.entries({ ...figures, [fieldName]: kind }).filter((pair) => pair[1]);
  const text = changed.map((pair) => pair.join('.')).join(',');
  setQuery({ figures: text || null });
}

/**
 * Figures over all rows that match, again after each change of the rows: `[kind, value]` by the
 * names of the fields; null without any.
 */
export function useFigures(appId, entity, figures, query, round) {
  const [values, setValues] = useState({});
  const kinds = Object.entries(figures);
  useEffect(() => {
    if (!kinds.length) return undefined;
    let isLate = false;
    const aggregate = kinds.map(([name, kind]) => [name, { [`$${kind}`]: name }]);
    const load = async () => {
      try {
        const loaded = await loadFigures(appId, entity, Object.fromEntries(aggregate), query);
        if (!isLate) setValues(loaded);
      } catch (error) {
        fail(error);
      }
    };
    load();
    return () => {
      isLate = true;
    };
  }, [JSON.stringify([figures, query.where, query.search]), round]);
  if (!kinds.length) return null;
  return Object.fromEntries(kinds.map(([name, kind]) => [name, [kind, values[name]]]));
}
