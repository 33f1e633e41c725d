/** Pages of a table by keyset: the next page begins behind the last row, at any depth alike. */
import { useEffect, useMemo, useRef, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { titlesOf } from '../../parts/titles.js';

const PAGE = 60;

/** @param {string} appId @param {any} entity @param {{where?: object, orderBy?: string, order?: string}} query */
export function useRows(appId, entity, query) {
  const [state, set] = useState({ rows: [], titles: {}, loading: true, done: false, error: null });
  const now = useRef(state);
  const abort = useRef(null);
  const update = (changes) => { now.current = { ...now.current, ...changes }; set(now.current); };
  const path = url`/api/v1/apps/${appId}/collections/${entity.name}/query`;

  async function load(rows, signal) {
    const after = rows.length ? rows[rows.length - 1].id : undefined;
    try {
      const reply = await post(path, { ...query, limit: PAGE, total: false, after }, { signal });
      if (signal.aborted) return;
      update({ rows: [...rows, ...reply.data], loading: false, done: reply.data.length < PAGE });
      const titles = await linked(appId, entity, reply.data);
      if (!signal.aborted) update({ titles: { ...now.current.titles, ...titles } });
    } catch (error) {
      if (!signal.aborted) update({ error, loading: false });
    }
  }

  function start() {
    abort.current?.abort();
    abort.current = new AbortController();
    update({ loading: true, error: null, done: false });
    return load([], abort.current.signal);
  }
  const key = JSON.stringify(query);
  useEffect(() => { start(); return () => abort.current?.abort(); }, [path, key]);

  return useMemo(() => ({
    ...state,
    reload: start,
    more: () => {
      if (now.current.loading || now.current.done || now.current.error) return;
      update({ loading: true });
      load(now.current.rows, abort.current.signal);
    },
    replace: async (row) => {
      update({ rows: now.current.rows.map((r) => (r.id === row.id ? row : r)) });
      update({ titles: { ...now.current.titles, ...(await linked(appId, entity, [row])) } });
    },
    drop: (ids) => update({ rows: now.current.rows.filter((r) => !ids.has(r.id)) }),
  }), [state]);
}

/** Titles of the records that rows link to, one request for each field. */
async function linked(appId, entity, rows) {
  const links = entity.fields.filter((f) => f.references);
  const found = await Promise.all(links.map((f) =>
    titlesOf(appId, f.references, rows.map((r) => r[f.name]).filter(Boolean)).catch(() => ({}))));
  return Object.assign({}, ...found);
}

/** Count the rows of a filter, when somebody asks. */
export async function count(appId, entity, where) {
  const reply = await post(url`/api/v1/apps/${appId}/collections/${entity.name}/query`, { where, limit: 1 });
  return reply.total;
}

/** Ids of all rows of a filter, page by page. */
export async function* allIds(appId, entity, where) {
  let after;
  for (;;) {
    const reply = await post(url`/api/v1/apps/${appId}/collections/${entity.name}/query`,
      { where, limit: 500, total: false, after });
    for (const row of reply.data) yield row.id;
    if (reply.data.length < 500) return;
    after = reply.data[reply.data.length - 1].id;
  }
}
