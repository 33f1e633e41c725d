/** The line above a table: its name, how many rows it has, the search box, and what it offers. */
import { html, useEffect, useState } from '../../core/kit.js';
import { url } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { A, go, route, setQuery } from '../../core/router.js';
import { CopyAs, Menu, saveAs, useTitle } from '../../core/screen.js';
import { features, findApp, may, toWords } from '../../core/store.js';
import { Input, fail, icon } from '../../core/ui.js';
import { openBuilder } from '../builder/open.js';
import { Columns, readWidths, writeWidths } from './columns.js';
import { fromWhere } from './filter.js';
import { GroupMenu, countGroups } from './groups.js';
import { LiveButtons } from './live.js';
import { exportCsv, hasMany } from './rows.js';
import { LayoutMenu, Views } from './views.js';

const MANY = '> 10,000';
/** Milliseconds of rest before what is typed is looked for. */
const REST = 200;

/**
 * @param {{appId: string, entity: any, address: any, where: any, query: any, columns: any,
 *   data: any, group?: any, live: any, filter: () => void}} props `address` is the query of the page's address.
 */
export function TableHead(props) {
  const { appId, entity, address, where, query, columns, data, group, live, filter } = props;
  const title = entity.label ?? toWords(entity.name);
  useTitle(title);
  const mayCreate = may(appId, entity.name, 'create');
  const { fields } = columns;
  const widths = writeWidths(readWidths(appId, entity, address.widths));
  const view = { ...address, columns: fields.map((field) => field.name).join(','), widths };
  const hidden = entity.fields.filter(({ name }) => !fields.some((field) => field.name === name));
  const request = {
    method: 'POST',
    path: url`/api/v1/apps/${appId}/collections/${entity.name}/query`,
    body: { ...query, limit: 100 },
  };
  const chooseColumns = () => {
    const content = ({ close }) =>
      html`<${Columns} entity=${entity} columns=${columns} close=${close} />`;
    openDialog(content, { label: 'Columns' });
  };
  const save = async () => {
    try {
      saveAs(await exportCsv(appId, entity, fields, query), `${entity.name}.csv`);
    } catch (error) {
      fail(error);
    }
  };
  const showLinks = async () => {
    const { openExports } = await import('../exports/links.js');
    const shown = { ...query, fields: fields.map((field) => field.name) };
    const body = { entity: entity.name, query: shown };
    openExports({ appId, entity, body, name: title });
  };
  const conditions = where && (fromWhere(where)?.items.length ?? 1);
  return html`<header class="datahead">
    <h1 class="cut" title=${title}>${title}</h1>
    <${Total} appId=${appId} entity=${entity} query=${query} data=${data} />
    ${
      hidden.length > 0 &&
      html`<button class="link count wide-only" onClick=${chooseColumns}>
        ${hidden.length} more ${hidden.length === 1 ? 'field' : 'fields'}
      </button>`
    }
    <span class="grow" />
    <${Quick} value=${address.q ?? ''} />
    <button class=${where ? 'on' : ''} title="Filter" onClick=${() => filter()}>
      ${icon('filter')}
      <span class="wide-only">Filter</span>
      ${conditions && html` <small>${conditions}</small>`}
    </button>
    ${group && data.groups && html`<${GroupMenu} field=${group} groups=${data.groups} />`}
    <${LayoutMenu} entity=${entity} layout=${address.layout} />
    <${Views}
      appId=${appId}
      entity=${entity}
      address=${view}
      onApply=${(chosen) => go(route.value.parts, chosen)}
    />
    <button class="icon" title="Columns" aria-label="Columns" onClick=${chooseColumns}>
      ${icon('columns')}
    </button>
    <${LiveButtons} live=${live} />
    <button class="icon quiet" title="Reload" aria-label="Reload" onClick=${data.reload}>
      ${icon('refresh')}
    </button>
    <${CopyAs} request=${request} />
    <${MoreMenu}
      importAddress=${mayCreate && ['import', appId, entity.name]}
      save=${save}
      jump=${data.rows.length > 0 && (() => openJump(data))}
      showLinks=${features.value.has('exports') && showLinks}
      request=${request}
      builder=${findApp(appId)?.admin && ((name) => openBuilder(name, appId, entity.name))}
    />
    ${mayCreate && html`<${NewButton} address=${['record', appId, entity.name, 'new']} />`}
  </header>`;
}

const NewButton = ({ address }) => html`<button
  class="primary"
  aria-label="New"
  onClick=${() => go(address)}
>
  ${icon('plus')}
  <span class="wide-only">New</span>
</button>`;

function MoreMenu({ importAddress, save, jump, showLinks, request, builder }) {
  const showCode = async () => {
    const { openCode } = await import('../../parts/code.js');
    openCode(request);
  };
  return html`<${Menu} title="More" className="icon quiet more" align="end" label=${icon('more')}>
    ${(close) => {
      const closing = (run) => () => {
        close();
        run();
      };
      return html`${
        importAddress && html`<${A} to=${importAddress}>${icon('upload')}Import CSV or Excel<//>`
      }
        ${jump && html`<button onClick=${closing(jump)}>${icon('right')}Go to a row…</button>`}
        <button onClick=${closing(save)}>${icon('down')}Export what is seen as CSV</button>
        ${
          showLinks &&
          html`<button onClick=${closing(showLinks)}>
            ${icon('link')}Link for spreadsheets…
          </button>`
        }
        <button onClick=${closing(showCode)}>
          ${icon('code')}Copy as curl, Python or TypeScript
        </button>
        ${
          builder &&
          html`<hr />
            <button onClick=${closing(() => builder('renameTable'))}>
              ${icon('edit')}Rename the table…
            </button>
            <button onClick=${closing(() => builder('removeTable'))}>
              ${icon('trash')}Remove the table…
            </button>`
        }`;
    }}
  <//>`;
}

/** How many rows there are: counted when asked, and beyond 10,000 when asked again. */
function Total({ appId, entity, query, data }) {
  const [total, setTotal] = useState('');
  useEffect(() => setTotal(''), [JSON.stringify(query), entity.name]);
  const countRows = async () => {
    const isAskedTwice = total !== '';
    const isMany = !isAskedTwice && (await hasMany(appId, entity, query));
    if (isMany) return MANY;
    await data.count();
    return '';
  };
  const ask = async () => {
    setTotal('…');
    try {
      setTotal(await countRows());
    } catch (error) {
      setTotal('');
      fail(error);
    }
  };
  const { rows, groups } = data;
  const number = (groups && countGroups(groups).matching) ?? data.total;
  if (Number.isInteger(number))
    return html`<span class="dim count">${number.toLocaleString()}</span>`;
  if (!rows.length) return null;
  const loaded = ((data.base ?? 0) + rows.length).toLocaleString();
  return html`<button class="link count" title="Count the rows" onClick=${ask}>
    ${total ? `${total} · count exactly` : `${loaded}+ · count`}
  </button>`;
}

function Quick({ value }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return undefined;
    const timer = setTimeout(() => setQuery({ q: text || null }, { replace: true }), REST);
    return () => clearTimeout(timer);
  }, [text]);
  const press = (event) => {
    if (event.key === 'Escape') {
      setText('');
      event.target.blur();
    }
    if (event.key === 'Enter') /** @type {any} */ (document.querySelector('.grid'))?.focus();
  };
  return html`<span class="quick">
    ${icon('search')}
    <input
      type="search"
      data-filter
      aria-label="Find in this table"
      placeholder="Find"
      value=${text}
      onInput=${(event) => setText(event.target.value)}
      onKeyDown=${press}
    />
  </span>`;
}

// --- going to a row by its number

const focusGrid = () =>
  /** @type {any} */ (document.querySelector('.grid'))?.focus({ preventScroll: true });

/** Ask for a row, and go there. @param {any} data the rows of a table, see `useRows` */
async function openJump(data) {
  try {
    const total = await data.count();
    const content = ({ close }) => html`<${Ask} total=${total} close=${close} />`;
    const row = await openDialog(content, { label: 'Go to a row' });
    if (!row) return;
    data.goTo.current(row - 1);
    requestAnimationFrame(focusGrid); // the dialog is gone by then
  } catch (error) {
    fail(error);
  }
}

function Ask({ total, close }) {
  const [text, setText] = useState('');
  const submit = (event) => {
    event.preventDefault();
    close(Number(text));
  };
  return html`<form onSubmit=${submit}>
    <h2>Go to a row</h2>
    <${Input}
      title="Row"
      note=${`1 to ${total.toLocaleString()}`}
      type="number"
      min="1"
      max=${total}
      required
      autofocus
      value=${text}
      onInput=${(event) => setText(event.target.value)}
    />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Go</button>
    </div>
  </form>`;
}
