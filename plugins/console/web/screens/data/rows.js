/**
 * The rows of a table, by keyset: the next page begins behind the last row, at any depth alike. Also
 * figures over all rows.
 */
import { useEffect, useMemo, useRef, useState } from '../../core/kit.js';
import { api, post, url } from '../../core/api.js';
import { readPlace, setQuery } from '../../core/router.js';
import { fail } from '../../core/ui.js';
import { loadLinkTitles, loadTitlesOf } from '../../parts/titles.js';

const PAGE = 60;
/** Rows that the server sends at once; so many are loaded again where the back button leads. */
const LARGEST = 1000;
/** Rows that are counted at once; more are counted when asked twice. */
const MANY = 10_000;
/** Values that the menu of a column lists. */
const MOST_VALUES = 12;

const buildPath = (appId, entity) => url`/api/v1/apps/${appId}/collections/${entity.name}/query`;

/** Titles of the records that rows link to, by their ids. */
async function loadTitles(appId, entity, rows) {
  const byField = await loadLinkTitles(appId, entity, rows);
  return Object.assign({}, ...Object.values(byField));
}

/**
 * @param {string} appId @param {any} entity
 * @param {{where?: object, search?: string, orderBy?: string, order?: string}} query
 */
export function useRows(appId, entity, query) {
  const [state, setState] = useState({ rows: [], titles: {}, round: 0, loading: true });
  /** The state as it is now, for replies that come later. */
  const current = useRef(state);
  const abort = useRef(null);
  /** Rows of the first page; more where the back button led to rows further down. */
  const firstPage = useRef(Math.min(LARGEST, Math.max(PAGE, readPlace()?.count ?? 0)));
  const path = buildPath(appId, entity);
  const update = (changes) => {
    current.current = { ...current.current, ...changes };
    setState(current.current);
  };
  const addTitles = (titles) => update({ titles: { ...current.current.titles, ...titles } });

  async function load(rows, signal) {
    const limit = rows.length ? PAGE : firstPage.current;
    const body = { ...query, ...findStart(rows), limit, total: false, etag: true };
    // Of the first page the position too: from there the table follows changes.
    const headers = rows.length ? {} : { prefer: 'position' };
    try {
      const reply = await post(path, body, { signal, headers, full: true });
      if (signal.aborted) return;
      const { data } = reply.body;
      firstPage.current = PAGE;
      if (!rows.length) update({ position: reply.headers.get('caudex-event') ?? '' });
      update({ rows: [...rows, ...data], loading: false, done: data.length < limit });
      const titles = await loadTitles(appId, entity, data);
      if (!signal.aborted) addTitles(titles);
    } catch (error) {
      if (!signal.aborted) update({ error, loading: false });
    }
  }

  /** Where the next page begins. A search that is ordered by rank has no row to go on behind. */
  function findStart(rows) {
    if (!rows.length) return {};
    return query.orderBy ? { after: rows.at(-1).id } : { offset: rows.length };
  }

  function start() {
    abort.current?.abort();
    abort.current = new AbortController();
    update({ loading: true, error: null, done: false, round: current.current.round + 1 });
    return load([], abort.current.signal);
  }

  function loadMore() {
    const { loading, done, error, rows } = current.current;
    if (loading || done || error) return;
    update({ loading: true });
    load(rows, abort.current.signal);
  }

  async function replace(changed) {
    const byId = new Map(changed.map((row) => [row.id, row]));
    const rows = current.current.rows.map((row) => byId.get(row.id) ?? row);
    update({ rows, round: current.current.round + 1 });
    addTitles(await loadTitles(appId, entity, changed));
  }

  useEffect(() => {
    start();
    return () => abort.current?.abort();
  }, [path, JSON.stringify(query)]);

  return useMemo(() => ({ ...state, reload: start, more: loadMore, replace }), [state]);
}

/** Count the rows of a query, when they are asked for. @param {any} [query] */
export async function count(appId, entity, query = {}) {
  const { where, search } = query;
  const reply = await post(buildPath(appId, entity), { where, search, limit: 1 });
  return reply.total;
}

/** Whether a query has more rows than are quickly counted. */
export async function hasMany(appId, entity, { where, search }) {
  const body = { where, search, limit: 1, offset: MANY, total: false, fields: ['id'] };
  const reply = await post(buildPath(appId, entity), body);
  return reply.data.length > 0;
}

/** The values of a field with how often each is there, the most frequent first. */
export async function loadValues(appId, entity, field, { where, search }) {
  const { data } = await post(buildPath(appId, entity), {
    where,
    search,
    groupBy: [field.name],
    aggregate: { rows: { $count: '*' } },
    orderBy: 'rows',
    order: 'desc',
    limit: MOST_VALUES,
    total: false,
  });
  const values = data.map((group) => group[field.name]);
  const titles = field.references ? await loadTitlesOf(appId, field.references, values) : {};
  const titleOf = (value) => (value === null ? '–' : (titles[value] ?? String(value)));
  return data.map((group) => {
    const value = group[field.name];
    return { value, count: group.rows, title: titleOf(value) };
  });
}

/** Figures over all rows of a query: `{name: value}` for `{name: {$sum: field}}`. */
export async function loadFigures(appId, entity, aggregate, { where, search }) {
  const body = { where, search, aggregate, total: false };
  const reply = await post(buildPath(appId, entity), body);
  return reply.data[0] ?? {};
}

/** All rows of a query in these columns, as a file of comma-separated values. */
export function exportCsv(appId, entity, fields, query) {
  const body = { ...query, fields: fields.map((field) => field.name) };
  return api('POST', buildPath(appId, entity), {
    body,
    headers: { accept: 'text/csv' },
    blob: true,
  });
}

/** Ids of all rows of a query, page by page. */
export async function* listIds(appId, entity, { where, search }) {
  const body = { where, search, limit: LARGEST, total: false, fields: ['id'] };
  let after;
  for (;;) {
    const page = { ...body, orderBy: 'created_at', after };
    const { data } = await post(buildPath(appId, entity), page);
    for (const row of data) yield row.id;
    if (data.length < LARGEST) return;
    after = data.at(-1).id;
  }
}

// --- figures below the columns of a table: kept in its address, asked of the server

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
