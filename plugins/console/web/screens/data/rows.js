/** Pages of a table by keyset: the next page begins behind the last row, at any depth alike. */
import { useEffect, useMemo, useRef, useState } from '../../core/kit.js';
import { api, post, url } from '../../core/api.js';
import { titlesOf } from '../../parts/titles.js';

const PAGE = 60;
const MANY = 10000;
const pathOf = (appId, entity) => url`/api/v1/apps/${appId}/collections/${entity.name}/query`;

/**
 * @param {string} appId @param {any} entity
 * @param {{where?: object, search?: string, orderBy?: string, order?: string}} query
 */
export function useRows(appId, entity, query) {
  const [state, set] = useState({ rows: [], titles: {}, round: 0, loading: true });
  const now = useRef(state);
  const abort = useRef(null);
  const update = (changes) => {
    now.current = { ...now.current, ...changes };
    set(now.current);
  };
  const path = pathOf(appId, entity);

  async function load(rows, signal) {
    // A search that is ordered by rank has no last row to go on behind.
    const next = query.orderBy ? { after: rows[rows.length - 1]?.id } : { offset: rows.length };
    try {
      const body = {
        ...query,
        limit: PAGE,
        total: false,
        etag: true,
        ...(rows.length ? next : {}),
      };
      const reply = await post(path, body, { signal });
      if (signal.aborted) return;
      const done = reply.data.length < PAGE;
      update({ rows: [...rows, ...reply.data], loading: false, done });
      const titles = await linked(appId, entity, reply.data);
      if (!signal.aborted) update({ titles: { ...now.current.titles, ...titles } });
    } catch (error) {
      if (!signal.aborted) update({ error, loading: false });
    }
  }

  function start() {
    abort.current?.abort();
    abort.current = new AbortController();
    update({ loading: true, error: null, done: false, round: now.current.round + 1 });
    return load([], abort.current.signal);
  }
  const key = JSON.stringify(query);
  useEffect(() => {
    start();
    return () => abort.current?.abort();
  }, [path, key]);

  return useMemo(
    () => ({
      ...state,
      reload: start,
      more: () => {
        if (now.current.loading || now.current.done || now.current.error) return;
        update({ loading: true });
        load(now.current.rows, abort.current.signal);
      },
      replace: async (changed) => {
        const byId = new Map(changed.map((row) => [row.id, row]));
        const rows = now.current.rows.map((r) => byId.get(r.id) ?? r);
        update({ rows, round: now.current.round + 1 });
        update({ titles: { ...now.current.titles, ...(await linked(appId, entity, changed)) } });
      },
    }),
    [state],
  );
}

/** Titles of the records that rows link to, one request for each field. */
async function linked(appId, entity, rows) {
  const links = entity.fields.filter((f) => f.references);
  const found = await Promise.all(
    links.map((f) =>
      titlesOf(appId, f.references, rows.map((r) => r[f.name]).filter(Boolean)).catch(() => ({})),
    ),
  );
  return Object.assign({}, ...found);
}

/** Count the rows of a query, when they are asked for. @param {any} [query] */
export async function count(appId, entity, query = {}) {
  const { where, search } = query;
  return (await post(pathOf(appId, entity), { where, search, limit: 1 })).total;
}

/** Whether a query has more rows than are quickly counted. */
export async function hasMany(appId, entity, { where, search }) {
  const body = { where, search, limit: 1, offset: MANY, total: false, fields: ['id'] };
  return (await post(pathOf(appId, entity), body)).data.length > 0;
}

/** The values of a field with how often each is there, the most frequent first. */
export async function valuesOf(appId, entity, field, { where, search }) {
  const grouped = { groupBy: [field.name], aggregate: { n: { $count: '*' } } };
  const body = { where, search, ...grouped, orderBy: 'n', order: 'desc', limit: 12, total: false };
  const { data } = await post(pathOf(appId, entity), body);
  const titles = field.references
    ? await titlesOf(appId, field.references, data.map((d) => d[field.name]).filter(Boolean))
    : {};
  return data.map((d) => {
    const value = d[field.name];
    return { value, n: d.n, title: value === null ? '–' : (titles[value] ?? String(value)) };
  });
}

/** Figures over all rows of a query: `{name: value}` for `{name: {$sum: field}}`. */
export async function figuresOf(appId, entity, aggregate, { where, search }) {
  const body = { where, search, aggregate, total: false };
  return (await post(pathOf(appId, entity), body)).data[0] ?? {};
}

/** All rows of a query in these columns, as a file of comma-separated values. */
export function asCsv(appId, entity, fields, query) {
  const body = { ...query, fields: fields.map((f) => f.name) };
  return api('POST', pathOf(appId, entity), { body, headers: { accept: 'text/csv' }, blob: true });
}

/** Ids of all rows of a query, page by page. */
export async function* allIds(appId, entity, { where, search }) {
  let after;
  for (;;) {
    const body = { where, search, limit: 1000, total: false, fields: ['id'], after };
    const { data } = await post(pathOf(appId, entity), { ...body, orderBy: 'created_at' });
    for (const row of data) yield row.id;
    if (data.length < 1000) return;
    after = data[data.length - 1].id;
  }
}
