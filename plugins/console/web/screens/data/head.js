/** The line above a table: its name, how many rows it has, the search box, and what it offers. */
import { html, useEffect, useState } from '../../core/kit.js';
import { url } from '../../core/api.js';
import { A, go, route, setQuery } from '../../core/router.js';
import { may, words } from '../../core/store.js';
import { Menu, fail, icon, openDialog, saveAs, CopyAs } from '../../core/ui.js';
import { Columns } from './columns.js';
import { asCsv, count, hasMany } from './rows.js';
import { Views } from './views.js';
import { fromWhere } from './where.js';

/**
 * @param {{appId: string, entity: any, address: any, where: any, query: any, fields: any[],
 *   data: any, filter: () => void}} props `address` is the query of the page's address.
 */
export function TableHead({ appId, entity, address, where, query, fields, data, filter }) {
  const state = { ...address, columns: fields.map((f) => f.name).join(',') };
  const creates = may(appId, entity.name, 'create');
  const columns = () =>
    openDialog(
      ({ close }) => html`<${Columns}
        appId=${appId}
        entity=${entity}
        close=${() => {
          setQuery({ columns: null });
          close();
        }}
      />`,
      { label: 'Columns' },
    );
  const request = {
    method: 'POST',
    path: url`/api/v1/apps/${appId}/collections/${entity.name}/query`,
    body: { ...query, limit: 100 },
  };
  const save = () =>
    asCsv(appId, entity, fields, query).then((file) => saveAs(file, `${entity.name}.csv`), fail);
  return html`<header class="datahead">
    <h1>${words(entity.name)}</h1>
    <${Total} appId=${appId} entity=${entity} query=${query} data=${data} />
    <span class="grow" />
    <${Quick} value=${address.q ?? ''} />
    <button class=${where ? 'on' : ''} title="Filter" onClick=${() => filter()}>
      ${icon('filter')}
      <span class="wide-only">Filter</span>
      ${where && html` <small>${fromWhere(where)?.items.length ?? 1}</small>`}
    </button>
    <${Views}
      appId=${appId}
      entity=${entity}
      state=${state}
      onApply=${(chosen) => go(route.value.parts, chosen)}
    />
    <button class="icon" title="Columns" aria-label="Columns" onClick=${columns}>
      ${icon('columns')}
    </button>
    <button class="icon quiet" title="Reload" aria-label="Reload" onClick=${data.reload}>
      ${icon('refresh')}
    </button>
    <${CopyAs} request=${request} />
    <${Menu} title="Import and export" className="icon quiet more" align="end" label=${icon('more')}>
      ${(close) => html`${
        creates && html`<${A} to=${['import', appId, entity.name]}>${icon('upload')}Import CSV<//>`
      }
        <button
          onClick=${() => {
            close();
            save();
          }}
        >
          ${icon('down')}Export what is seen as CSV
        </button>
        <button
          onClick=${() => {
            close();
            import('../../parts/code.js').then((m) => m.openCode(request));
          }}
        >
          ${icon('code')}Copy as curl, Python or TypeScript
        </button>`}
    <//>
    ${
      creates &&
      html`<button class="primary" onClick=${() => go(['record', appId, entity.name, 'new'])}>
        ${icon('plus')}
        <span class="wide-only">New</span>
      </button>`
    }
  </header>`;
}

/** How many rows there are: counted when asked, and beyond 10,000 when asked again. */
function Total({ appId, entity, query, data }) {
  const [total, set] = useState('');
  useEffect(() => set(''), [JSON.stringify(query), entity.name]);
  if (data.done) return html`<span class="dim count">${data.rows.length}</span>`;
  if (!data.rows.length) return null;
  const exact = () => count(appId, entity, query).then((n) => n.toLocaleString());
  const ask = async () => {
    try {
      set('…');
      set(total || !(await hasMany(appId, entity, query)) ? await exact() : '> 10,000');
    } catch (error) {
      set('');
      fail(error);
    }
  };
  if (total && total !== '> 10,000') return html`<span class="dim count">${total}</span>`;
  return html`<button class="link count" title="Count the rows" onClick=${ask}>
    ${total ? `${total} · count exactly` : `${data.rows.length}+ · count`}
  </button>`;
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
    if (e.key === 'Escape') {
      set('');
      e.target.blur();
    }
    if (e.key === 'Enter') /** @type {any} */ (document.querySelector('.grid'))?.focus();
  };
  return html`<span class="quick">
    ${icon('search')}
    <input
      type="search"
      data-filter
      aria-label="Find in this table"
      placeholder="Find"
      value=${text}
      onInput=${(e) => set(e.target.value)}
      onKeyDown=${key}
    />
  </span>`;
}
