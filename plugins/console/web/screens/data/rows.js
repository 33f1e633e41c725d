/**
 * The rows of a table, by keyset: the next page begins behind the last row, at any depth alike. Rows
 * that the reader jumps to are found by their number. Also figures over all rows.
 */
import { useEffect, useMemo, useRef, useState } from '../../core/kit.js';
import { api, post, url } from '../../core/api.js';
import { readPlace, setQuery } from '../../core/router.js';
import { fail } from '../../core/ui.js';
import { writeValue } from '../../parts/values.js';
import { loadLinkTitles, loadTitlesOf } from '../../parts/titles.js';
import { joinWheres } from './filter.js';
import { countGroups, leaveOut, loadGroups } from './groups.js';
import { turnOrder } from './order.js';

/** Rows that are read at once, while the reader is in those before; more, the further down. */
const PAGE = 200;
/** Rows that the server sends at once; so many are loaded again where the back button leads. */
const LARGEST = 1000;
/** Rows that are counted at once; more are counted when asked twice. */
const MANY = 10_000;
/** Milliseconds between two looks at rows that are being loaded. */
const LOADING = 50;
/** Values that the menu of a column lists. */
const MOST_VALUES = 12;

const buildPath = (appId, entity) => url`/api/v1/apps/${appId}/collections/${entity.name}/query`;
const rest = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const bound = (count) => Math.min(LARGEST, Math.max(PAGE, count));

/** Titles of the records that rows link to, by their ids. */
async function loadTitles(appId, entity, rows) {
  const byField = await loadLinkTitles(appId, entity, rows);
  return Object.assign({}, ...Object.values(byField));
}

/**
 * The rows of a table that are loaded: a part of it without gaps, which grows at both ends and moves
 * where the reader jumps. `base` is the number of the first one; `total` that of all rows, null
 * while it is not known; `fresh` counts the queries that were answered.
 * @param {string} appId @param {any} entity
 * @param {{where?: object, search?: string, orderBy?: string, order?: string, thenBy?: object[]}} query
 * @param {{field: any, folded: any[]}|null} [grouping] its groups
 */
export function useRows(appId, entity, query, grouping = null) {
  const [state, setState] = useState({
    rows: [],
    base: 0,
    total: null,
    groups: null,
    titles: {},
    round: 0,
    fresh: 0,
    loading: true,
  });
  /** The state as it is now, for replies that come later. */
  const current = useRef(state);
  const abort = useRef(null);
  /** The part that was loaded where the back button leads. */
  const place = useRef(readPlace());
  /** The rows in sight. */
  const seen = useRef({ first: 0, end: 0 });
  /** Leads the cursor of the table to a row by its number. */
  const goTo = useRef((row) => row);
  const answered = useRef('');
  const path = buildPath(appId, entity);
  const key = path + JSON.stringify(query);
  const left = grouping && leaveOut(grouping.field, grouping.folded);
  const shownQuery = left ? { ...query, where: joinWheres(query.where, left) } : query;
  const update = (changes) => {
    current.current = { ...current.current, ...changes };
    setState(current.current);
  };
  const addTitles = async (rows, signal) => {
    const titles = await loadTitles(appId, entity, rows);
    if (signal?.aborted || !Object.keys(titles).length) return;
    update({ titles: { ...current.current.titles, ...titles } });
  };
  /** Run work that loads; another one ends it. What is shown does not change before its reply. */
  const run = async (work) => {
    const { signal } = abort.current;
    current.current = { ...current.current, loading: true, error: null };
    try {
      await work(signal);
    } catch (error) {
      if (!signal.aborted) update({ error, loading: false });
    }
  };

  async function loadPage(part, limit, signal, headers = {}) {
    const body = { ...shownQuery, ...part, limit, total: false, etag: true };
    const reply = await post(path, body, { signal, headers, full: true });
    return { rows: reply.body.data, position: reply.headers.get('caudex-event') ?? '' };
  }

  /** Load rows from a number on, with the position from which the table follows changes. */
  async function loadFrom(base, limit, signal) {
    const headers = { prefer: 'position' };
    const { total, base: former } = current.current;
    const behind = (total ?? Infinity) - base - limit;
    const isNearEnd = query.orderBy && base !== former && behind < base;
    if (!isNearEnd) return loadPage({ offset: base || undefined }, limit, signal, headers);
    // Counted from the end: the server skips fewer.
    const part = { ...turnOrder(shownQuery), offset: Math.max(0, behind) || undefined };
    const page = await loadPage(part, limit + Math.min(0, behind), signal, headers);
    return { ...page, rows: page.rows.reverse() };
  }

  /** Load another part of the table in place of the one that is there. */
  function open(base, limit, changes = {}) {
    abort.current?.abort();
    abort.current = new AbortController();
    return run(async (signal) => {
      const target = { appId, entity, ...grouping };
      const [page, groups] = await Promise.all([
        loadFrom(base, limit, signal),
        grouping ? loadGroups(target, query, signal) : null,
      ]);
      if (signal.aborted) return;
      const { rows, position } = page;
      if (base && !rows.length) {
        update({ total: null });
        open(0, PAGE, changes);
        return;
      }
      const { round } = current.current;
      const known = groups ? countGroups(groups).shown : current.current.total;
      const end = base + rows.length;
      const done = rows.length < limit;
      const least = known === null ? null : Math.max(known, end);
      const part = { rows, base, done, total: done ? end : least };
      answered.current = key;
      update({ ...part, position, groups, loading: false, round: round + 1, ...changes });
      await addTitles(rows, signal);
    });
  }

  function openFirst() {
    const { base = 0, count = 0 } = place.current ?? {};
    place.current = null;
    update({ total: null, done: false });
    return open(base, bound(count), { fresh: current.current.fresh + 1 });
  }

  /** Load what is there again; of very many rows those around the ones in sight. */
  function reload() {
    const { base, rows } = current.current;
    const isLong = rows.length > LARGEST;
    const start = isLong ? Math.max(base, seen.current.first - PAGE) : base;
    return open(start, bound(rows.length));
  }

  /** Load the rows up to one, or those around it where these are too many. */
  function jump(row) {
    const { base } = current.current;
    const upTo = row + PAGE / 2 - base;
    if (row >= base && upTo <= LARGEST) return open(base, upTo);
    return open(Math.max(0, row - PAGE / 2), PAGE);
  }

  /** Load the next rows. @returns {Promise<void>|undefined} nothing where there is nothing to do */
  function loadMore(least = 0) {
    const { loading, done, error, rows, base } = current.current;
    if (loading || done || error) return undefined;
    const limit = bound(Math.max(least, Math.round(rows.length / 2)));
    return run(async (signal) => {
      const next = await loadBeside(rows.at(-1), shownQuery, base + rows.length, limit, signal);
      if (signal.aborted) return;
      const all = [...rows, ...next];
      const isEnd = next.length < limit;
      const total = isEnd ? base + all.length : current.current.total;
      update({ rows: all, total, done: isEnd, loading: false });
      await addTitles(next, signal);
    });
  }

  /** Load rows until so many are there, or the table ends. Returns them. */
  async function loadTo(count) {
    for (;;) {
      const { rows, done, error } = current.current;
      if (rows.length >= count || done || error) return rows;
      await (loadMore(LARGEST) ?? rest(LOADING));
    }
  }

  function loadBefore() {
    const { loading, error, rows, base } = current.current;
    if (loading || error || !base || !rows.length) return;
    const limit = Math.min(PAGE, base);
    run(async (signal) => {
      const turned = query.orderBy ? turnOrder(shownQuery) : shownQuery;
      const before = await loadBeside(rows[0], turned, base - limit, limit, signal);
      if (signal.aborted) return;
      if (query.orderBy) before.reverse();
      const start = before.length < limit ? 0 : base - limit;
      update({ rows: [...before, ...rows], base: start, loading: false });
      await addTitles(before, signal);
    });
  }

  /** Load the rows behind one; a search that is ordered by rank has no row to go on behind. */
  async function loadBeside(row, ordered, offset, limit, signal) {
    const rest = { offset: offset || undefined };
    if (!query.orderBy) return (await loadPage(rest, limit, signal)).rows;
    try {
      return (await loadPage({ ...ordered, after: row.id }, limit, signal)).rows;
    } catch (error) {
      if (error.status !== 400) throw error;
      // The row was deleted meanwhile.
      const page = await loadPage(rest, limit, signal);
      return ordered === shownQuery ? page.rows : page.rows.reverse();
    }
  }

  /** Count the rows; from then on the table is as long as they are. */
  async function countRows() {
    const { total } = current.current;
    if (total !== null) return total;
    const counted = await count(appId, entity, shownQuery);
    update({ total: counted });
    return counted;
  }

  async function replace(changed) {
    const byId = new Map(changed.map((row) => [row.id, row]));
    const rows = current.current.rows.map((row) => byId.get(row.id) ?? row);
    update({ rows, round: current.current.round + 1 });
    await addTitles(changed);
  }

  useEffect(() => {
    if (answered.current === key) reload();
    else openFirst();
    return () => abort.current?.abort();
  }, [key, JSON.stringify(grouping?.folded)]);

  return useMemo(() => {
    const loading = { more: () => loadMore(), before: loadBefore, loadTo };
    const actions = { reload, ...loading, jump, count: countRows, replace };
    return { ...state, ...actions, seen, goTo };
  }, [state, key, JSON.stringify(grouping?.folded)]);
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
  // The answers of the menu are called so before they are counted, too.
  const titleOf = (value) =>
    typeof value === 'boolean' ? String(value) : writeValue(field, value, titles[value]);
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
