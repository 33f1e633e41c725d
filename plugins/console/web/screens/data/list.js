/** A table of records: filter, order, columns, inline edit, figures, actions on many. */
import { html, useEffect, useMemo, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { parse, stringify } from '../../core/json.js';
import { A, go, setQuery } from '../../core/router.js';
import { describe, may, words } from '../../core/store.js';
import { Empty, ErrorBox, Loaded, fail, openDialog, useLoad } from '../../core/ui.js';
import { saveRecord } from '../record/save.js';
import { shownFields } from './columns.js';
import { HeadMenu } from './facets.js';
import { Filter } from './filter.js';
import { Grid } from './grid.js';
import { TableHead } from './head.js';
import { Selection } from './many.js';
import { figuresOf, useRows } from './rows.js';
import { both, quick } from './where.js';

export default function DataScreen({ parts: [appId, name], query }) {
  const app = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${app}>
    ${(found) => {
      const entity = found.entities.find((e) => e.name === name);
      if (!entity)
        return html`<${Empty} title="There is no such table" glyph="table">
          The app ${found.name} has no table “${name}”. It may have been removed.
        <//>`;
      return html`<${Table}
        key=${`${appId}.${name}`}
        appId=${appId}
        entity=${entity}
        address=${query}
      />`;
    }}
  <//>`;
}

function readWhere(text) {
  try {
    return text ? parse(text) : undefined;
  } catch {
    return undefined;
  }
}

/** What is asked of the server: the words go to its search where the entity has one. */
function queryOf(entity, where, { q = '', sort, order = 'desc' }) {
  const words = entity.search ? { search: q.trim() || undefined } : {};
  const full = entity.search ? where : both(where, quick(entity, q));
  const byRank = words.search && !sort;
  return { where: full, ...words, ...(byRank ? {} : { orderBy: sort ?? 'created_at', order }) };
}

function Table({ appId, entity, address }) {
  const { sort = 'created_at', order = 'desc' } = address;
  const where = useMemo(() => readWhere(address.where), [address.where]);
  const query = queryOf(entity, where, address);
  const data = useRows(appId, entity, query);
  const [chosen, choose] = useState(new Set());
  const [everything, setEverything] = useState(false);
  const fields = shownFields(appId, entity, address.columns?.split(','));
  const figures = readFigures(address.figures, fields);
  const shown = useFigures(appId, entity, figures, query, data.round);
  const clear = () => {
    choose(new Set());
    setEverything(false);
  };
  useEffect(clear, [address.where, address.q]);

  const open = (row) => row && go(['record', appId, entity.name, row.id]);
  const setWhere = (next) => setQuery({ where: next ? stringify(next) : null });
  const add = (condition) => setWhere(both(where, condition));
  const onSort = (field) =>
    setQuery({ sort: field, order: sort === field && order !== 'desc' ? 'desc' : 'asc' });
  const setFigure = (field, name) => {
    const next = Object.entries({ ...figures, [field.name]: name }).filter(([, f]) => f);
    setQuery({ figures: next.map((pair) => pair.join('.')).join(',') || null });
  };
  const saveOne = async (row, change) => {
    const saved = await saveRecord(appId, entity, row, change);
    if (saved) await data.replace([saved]);
    else data.reload();
  };
  /** Save `[row, change]` pairs: one by its route, a pasted block all or nothing in one batch. */
  const save = async (pairs) => {
    try {
      if (pairs.length === 1) return await saveOne(...pairs[0]);
      const operations = pairs.map(([row, change]) => {
        return { op: 'update', entity: entity.name, id: row.id, data: change, ifMatch: row._etag };
      });
      const { results } = await post(url`/api/v1/apps/${appId}/batch`, { operations });
      await data.replace(results.map(({ record, etag }) => ({ ...record, _etag: etag })));
    } catch (error) {
      // Another user was faster with one of them: that one is asked about.
      if (error.status !== 412) fail(error);
      else for (const pair of pairs) await saveOne(...pair).catch(fail);
    }
    return undefined;
  };
  const filter = (start = where) =>
    openDialog(
      ({ close }) => html`<${Filter}
        appId=${appId}
        entity=${entity}
        where=${start}
        onChange=${setWhere}
        close=${close}
      />`,
      { label: 'Filter', wide: true },
    );
  const menu = (field) => html`<${HeadMenu}
    appId=${appId}
    entity=${entity}
    field=${field}
    query=${query}
    quick=${data.done}
    figure=${figures[field.name]}
    add=${add}
    filter=${filter}
    setFigure=${(name) => setFigure(field, name)}
  />`;
  const none = !data.error && !data.loading && !data.rows.length;
  return html`<div class="data">
    <${TableHead}
      appId=${appId}
      entity=${entity}
      address=${address}
      where=${where}
      query=${query}
      fields=${fields}
      data=${data}
      filter=${filter}
    />
    ${
      data.error &&
      html`<div class="padded"><${ErrorBox} error=${data.error} retry=${data.reload} /></div>`
    }
    ${
      none
        ? html`<${Nothing}
            appId=${appId}
            entity=${entity}
            narrowed=${query.where !== undefined || query.search}
          />`
        : html`<${Grid}
            appId=${appId}
            entity=${entity}
            fields=${fields}
            data=${data}
            sort=${sort}
            order=${order}
            onSort=${onSort}
            onOpen=${open}
            onSave=${save}
            editable=${may(appId, entity.name, 'update')}
            chosen=${chosen}
            onChoose=${(ids) => {
              choose(ids);
              setEverything(false);
            }}
            headMenu=${menu}
            figures=${Object.keys(figures).length ? shown : null}
          />`
    }
    ${
      chosen.size > 0 &&
      html`<${Selection}
        appId=${appId}
        entity=${entity}
        query=${query}
        chosen=${chosen}
        everything=${everything}
        setEverything=${setEverything}
        clear=${clear}
        reload=${data.reload}
      />`
    }
  </div>`;
}

const Nothing = ({ appId, entity, narrowed }) => html`<${Empty}
  title=${narrowed ? 'Nothing matches' : `No ${words(entity.name).toLowerCase()} yet`}
  glyph=${narrowed ? 'filter' : 'table'}
>
  ${narrowed && html`<button onClick=${() => setQuery({ where: null, q: null })}>Show everything</button>`}
  ${
    !narrowed &&
    may(appId, entity.name, 'create') &&
    html`<${A} class="button" to=${['record', appId, entity.name, 'new']}>
        Create the first record
      <//>
      <${A} class="button" to=${['import', appId, entity.name]}>Import CSV<//>`
  }
<//>`;

/** `value.sum,close_date.max` as `{value: 'sum', close_date: 'max'}`, of the shown fields. */
function readFigures(text, fields) {
  const pairs = (text ?? '').split(',').map((part) => part.split('.'));
  return Object.fromEntries(pairs.filter(([name]) => fields.some((f) => f.name === name)));
}

/** Figures over all rows that match, again after each change of the rows. */
function useFigures(appId, entity, figures, query, round) {
  const [found, set] = useState({});
  const wanted = Object.entries(figures).map(([name, kind]) => [name, { [`$${kind}`]: name }]);
  useEffect(() => {
    if (!wanted.length) return undefined;
    let late = false;
    figuresOf(appId, entity, Object.fromEntries(wanted), query).then((r) => late || set(r), fail);
    return () => {
      late = true;
    };
  }, [JSON.stringify([figures, query.where, query.search]), round]);
  return Object.fromEntries(Object.entries(figures).map(([n, kind]) => [n, [kind, found[n]]]));
}
