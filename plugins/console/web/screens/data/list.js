/** A table of records: filter, order, columns, inline edit, actions on many. */
import { html, useEffect, useMemo, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { A, go, href, route, setQuery } from '../../core/router.js';
import { describe, findApp, keep, may, settings, words } from '../../core/store.js';
import { Empty, ErrorBox, Loaded, Menu, fail, icon, openDialog, toast, useLoad } from '../../core/ui.js';
import { CopyAs } from '../../parts/code.js';
import { Columns, shownFields } from './columns.js';
import { Filter } from './filter.js';
import { Grid } from './grid.js';
import { Selection } from './many.js';
import { count, useRows } from './rows.js';
import { saveRecord } from '../record/save.js';
import { Views } from './views.js';
import { both, fromWhere, quick } from './where.js';

export default function DataScreen({ parts: [appId, name], query }) {
  const app = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${app}>${(found) => {
    const entity = found.entities.find((e) => e.name === name);
    if (!entity) return html`<${Empty} title="There is no such table" glyph="table">The app ${found.name} has no table “${name}”. It may have been removed.<//>`;
    return html`<${Table} key=${`${appId}.${name}`} appId=${appId} entity=${entity} query=${query} />`;
  }}<//>`;
}

function readWhere(text) {
  try { return text ? JSON.parse(text) : undefined; } catch { return undefined; }
}

function Table({ appId, entity, query }) {
  const where = useMemo(() => readWhere(query.where), [query.where]);
  const full = useMemo(() => both(where, quick(entity, query.q ?? '')), [where, query.q]);
  const sort = query.sort ?? 'created_at';
  const order = query.order ?? 'desc';
  const body = { where: full, orderBy: sort, order };
  const data = useRows(appId, entity, body);
  const [chosen, choose] = useState(new Set());
  const [everything, setEverything] = useState(false);
  const fields = shownFields(appId, entity, query.columns?.split(','));
  const clear = () => { choose(new Set()); setEverything(false); };
  useEffect(clear, [query.where, query.q]);

  const open = (row) => row && go(['record', appId, entity.name, row.id]);
  const setWhere = (next) => setQuery({ where: next ? JSON.stringify(next) : null });
  const onSort = (field) => setQuery({ sort: field, order: sort === field && order === 'desc' ? 'asc' : sort === field ? 'desc' : 'asc' });
  const save = async (row, field, value) => {
    try {
      const saved = await saveRecord(appId, entity, row, { [field.name]: value });
      if (saved) await data.replace(saved); else data.reload();
    } catch (error) { fail(error); }
  };
  const filterDialog = (start = where) => openDialog(({ close }) => html`<${Filter} appId=${appId} entity=${entity} where=${start} onChange=${setWhere} close=${close} />`, { label: 'Filter', wide: true });
  const add = (condition) => setWhere(both(where, condition));
  const narrowed = full !== undefined;
  return html`<div class="data">
    <header class="datahead"><h1>${words(entity.name)}</h1><${Total} appId=${appId} entity=${entity} where=${full} data=${data} />
      <span class="grow" /><${Quick} value=${query.q ?? ''} />
      <button class=${where ? 'on' : ''} title="Filter" onClick=${() => filterDialog()}>${icon('filter')}<span class="wide-only">Filter</span>${where && html` <small>${(fromWhere(where)?.items.length ?? 1)}</small>`}</button>
      <${Views} appId=${appId} entity=${entity} state=${{ where: query.where, q: query.q, sort: query.sort, order: query.order, columns: fields.map((f) => f.name).join(',') }} onApply=${(state) => go(route.value.parts, state)} />
      <button class="icon" title="Columns" aria-label="Columns" onClick=${() => openDialog(({ close }) => html`<${Columns} appId=${appId} entity=${entity} close=${() => { setQuery({ columns: null }); close(); }} />`, { label: 'Columns' })}>${icon('columns')}</button>
      <button class="icon quiet" title="Reload" aria-label="Reload" onClick=${data.reload}>${icon('refresh')}</button>
      <${CopyAs} request=${{ method: 'POST', path: url`/api/v1/apps/${appId}/collections/${entity.name}/query`, body: { ...body, limit: 100 } }} />
      ${may(appId, entity.name, 'create') && html`<${Menu} title="Import" className="icon quiet" align="end" label=${icon('more')}><${A} to=${['import', appId, entity.name]}>${icon('upload')}Import CSV<//><//>
        <button class="primary" onClick=${() => go(['record', appId, entity.name, 'new'])}>${icon('plus')}<span class="wide-only">New</span></button>`}</header>
    ${data.error && html`<div class="padded"><${ErrorBox} error=${data.error} retry=${data.reload} /></div>`}
    ${!data.error && !data.loading && !data.rows.length ? html`<${Empty} title=${narrowed ? 'Nothing matches' : `No ${words(entity.name).toLowerCase()} yet`} glyph=${narrowed ? 'filter' : 'table'}>
        ${narrowed ? html`<button onClick=${() => setQuery({ where: null, q: null })}>Show everything</button>` : may(appId, entity.name, 'create') && html`<${A} class="button" to=${['record', appId, entity.name, 'new']}>Create the first record<//>`}<//>`
      : html`<${Grid} appId=${appId} entity=${entity} fields=${fields} data=${data} sort=${sort} order=${order} onSort=${onSort} onOpen=${open} onSave=${save}
        editable=${may(appId, entity.name, 'update')} chosen=${chosen} onChoose=${(ids) => { choose(ids); setEverything(false); }}
        headMenu=${(field) => html`<${HeadMenu} field=${field} add=${add} filter=${filterDialog} tally=${(condition) => count(appId, entity, both(full, condition))} />`} />`}
    ${chosen.size > 0 && html`<${Selection} appId=${appId} entity=${entity} where=${full} chosen=${chosen} everything=${everything} setEverything=${setEverything} clear=${clear} reload=${data.reload} />`}
  </div>`;
}

/** How many rows there are: counted when asked, as a large table takes its time. */
function Total({ appId, entity, where, data }) {
  const [total, set] = useState(null);
  const key = JSON.stringify(where ?? null);
  useEffect(() => set(null), [key, entity.name]);
  if (data.done) return html`<span class="dim count">${data.rows.length}</span>`;
  if (total !== null) return html`<span class="dim count">${total.toLocaleString()}</span>`;
  if (!data.rows.length) return null;
  const ask = () => { set('…'); count(appId, entity, where).then(set, (error) => { set(null); fail(error); }); };
  return html`<button class="link count" title="Count the rows" onClick=${ask}>${data.rows.length}+ · count</button>`;
}

function Quick({ value }) {
  const [text, set] = useState(value);
  useEffect(() => set(value), [value]);
  useEffect(() => {
    if (text === value) return undefined;
    const timer = setTimeout(() => setQuery({ q: text || null }, { replace: true }), 200);
    return () => clearTimeout(timer);
  }, [text]);
  const key = (e) => {
    if (e.key === 'Escape') { set(''); e.target.blur(); }
    if (e.key === 'Enter') document.querySelector('.grid')?.focus();
  };
  return html`<span class="quick">${icon('search')}<input type="search" data-filter aria-label="Find in this table" placeholder="Find" value=${text} onInput=${(e) => set(e.target.value)} onKeyDown=${key} /></span>`;
}

/** The menu of a column: its values where they are few, and a condition on it. */
function HeadMenu({ field, add, filter, tally }) {
  const [counts, set] = useState({});
  const values = field.enum_values?.length ? field.enum_values : field.type === 'boolean' ? ['true', 'false'] : [];
  return html`<${Menu} className="quiet icon small" title=${`Filter by ${field.name}`} label=${icon('down')} align="end">${(close) => html`
    ${values.map((v) => html`<button key=${v} onClick=${() => { close(); add({ [field.name]: { $eq: v } }); }}><span class="grow">${v}</span>${counts[v] !== undefined && html`<small class="num">${counts[v]}</small>`}</button>`)}
    ${values.length > 0 && html`<button class="dim" onClick=${() => values.forEach((v) => tally({ [field.name]: { $eq: v } }).then((n) => set((all) => ({ ...all, [v]: n })), fail))}>Count each</button><hr />`}
    <button onClick=${() => { close(); add({ [field.name]: { $isNull: true } }); }}>is empty</button><button onClick=${() => { close(); add({ [field.name]: { $isNull: false } }); }}>is not empty</button>
    <hr /><button onClick=${() => { close(); filter({ [field.name]: field.type === 'text' && !values.length ? { $ilike: '%%' } : { $eq: '' } }); }}>${icon('filter')}Condition…</button>`}<//>`;
}
