/** One record: its form, and what links to it. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { remove, url } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { stringify } from '../../core/json.js';
import { A, go, guards, leave } from '../../core/router.js';
import { Ago, CopyAs, Head } from '../../core/screen.js';
import { describe, findPages, may, toWords } from '../../core/store.js';
import { Empty, IconButton, Loaded, fail, icon, useLoad } from '../../core/ui.js';
import { useFeed } from '../../feed/feed.js';
import { RowActions, Tile } from '../../kit/tile.js';
import { makeTitle } from '../../parts/titles.js';
import { hasUndo, toastUndo } from '../../parts/undo.js';
import { count } from '../data/rows.js';
import { Edit, NewRecord, loadRecord } from './edit.js';
import { History } from './history.js';

export default function RecordScreen({ parts: [appId, name, id], query }) {
  const description = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${description}>
    ${(app) => {
      const entity = app.entities.find((candidate) => candidate.name === name);
      if (!entity) return html`<${NoTable} />`;
      if (id === 'new') return html`<${Create} appId=${appId} entity=${entity} preset=${query} />`;
      return html`<${Record} key=${id} app=${app} entity=${entity} id=${id} />`;
    }}
  <//>`;
}

/**
 * A record beside its table.
 * @param {{appId: string, entity: any, id: string,
 *   table: {replace: (record: any) => void, drop: () => void}}} props `table` takes what happens
 */
export function Beside({ appId, entity, id, table }) {
  const description = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${description}>
    ${(app) => html`<${Record} app=${app} entity=${entity} id=${id} table=${table} />`}
  <//>`;
}

const NoTable = () => html`<${Empty} title="There is no such table" glyph="table">
  It may have been removed.
<//>`;

const Crumbs = ({ appId, entity, children }) => html`<nav
  class="crumbs"
  aria-label="Where this is"
>
  <${A} to=${['data', appId, entity.name]}>${toWords(entity.name)}<//>
  ${icon('right')}
  <span class="cut">${children}</span>
</nav>`;

function Create({ appId, entity, preset }) {
  const table = ['data', appId, entity.name];
  const done = (row) => leave(row ? ['record', appId, entity.name, row.id] : table);
  const request = {
    method: 'POST',
    path: url`/api/v1/apps/${appId}/collections/${entity.name}`,
    body: preset,
  };
  return html`<${Crumbs} appId=${appId} entity=${entity}>New<//>
    <${Head} title="New record" request=${request} />
    <${NewRecord} appId=${appId} entityName=${entity.name} preset=${preset} done=${done} page />`;
}

function Record({ app, entity, id, table }) {
  const path = url`/api/v1/apps/${app.id}/collections/${entity.name}/${id}`;
  const loaded = useLoad((signal) => loadRecord(path, signal), [path]);
  /** Counts what was saved: the history is loaded again. */
  const [round, setRound] = useState(0);
  const reload = () => {
    loaded.reload();
    setRound((number) => number + 1);
  };
  const { later, isMarked } = useLiveRecord({
    appId: app.id,
    entity,
    path,
    row: loaded.data,
    reload,
  });
  if (loaded.error?.status === 404)
    return html`<${Empty} title="There is no such record" glyph="table">
      <${A} to=${['data', app.id, entity.name]}>Back to the table<//>
    <//>`;
  const showSaved = (record) => {
    loaded.set(record);
    setRound(round + 1);
    table?.replace(record);
  };
  return html`<${Loaded} of=${loaded}>
    ${(row) => html`${
      !table && html`<${Crumbs} appId=${app.id} entity=${entity}>${makeTitle(entity, row)}<//>`
    }
      <${RecordHead}
        appId=${app.id}
        entity=${entity}
        row=${row}
        path=${path}
        reload=${loaded.reload}
        table=${table}
      />
      <div class=${table ? 'stack' : 'split'}>
        <div class="stack">
          <${LaterNotice} later=${later} reload=${reload} />
          <${Edit}
            appId=${app.id}
            entity=${entity}
            row=${row}
            isMarked=${isMarked}
            onSaved=${showSaved}
            onReload=${reload}
          />
        </div>
        <aside>
          <${PluginCards} appId=${app.id} entity=${entity} row=${row} />
          <${Links} app=${app} entity=${entity} row=${row} />
          <${History}
            appId=${app.id}
            entity=${entity}
            id=${id}
            path=${path}
            round=${round}
            reload=${reload}
          />
        </aside>
      </div>`}
  <//>`;
}

function RecordHead({ appId, entity, row, path, reload, table }) {
  const times = html`Created <${Ago} at=${row.created_at} /> · changed <${Ago} at=${row.updated_at} />`;
  const drop = () => deleteRecord(appId, entity, row, path, table);
  const Heading = table ? BesideHead : Head;
  return html`<${Heading} title=${makeTitle(entity, row)} sub=${times}>
    <${RowActions} appId=${appId} entity=${entity} ids=${[row.id]} done=${reload} />
    <${CopyAs} request=${{ method: 'GET', path }} />
    ${
      may(appId, entity.name, 'delete') &&
      html`<${IconButton} glyph="trash" label="Delete" onClick=${drop} />`
    }
  <//>`;
}

/** The head of a record beside its table, which names the page. */
const BesideHead = ({ title, sub, children }) => html`<header class="head">
  <div>
    <h2>${title}</h2>
    <p class="dim">${sub}</p>
  </div>
  <div class="tools">${children}</div>
</header>`;

/** What plugins add to the record. */
function PluginCards({ appId, entity, row }) {
  return findPages('record', appId, entity.name).map(
    (page) => html`<section class="card side-card" key=${page.plugin + page.id}>
      <h2>${page.title}</h2>
      <${Tile} page=${page} app=${appId} entity=${entity.name} record=${row} />
    </section>`,
  );
}

async function deleteRecord(appId, entity, row, path, table) {
  const isSure = await confirm(
    `Delete “${makeTitle(entity, row)}”?`,
    hasUndo() ? 'It can be undone.' : 'The record is gone for good.',
    { yes: 'Delete' },
  );
  if (!isSure) return;
  try {
    const { requestId: request } = await remove(path, { full: true });
    const done = table ? undefined : () => go(['record', appId, entity.name, row.id]);
    if (table) {
      guards.clear();
      table.drop();
    } else {
      leave(['data', appId, entity.name]);
    }
    toastUndo('Record deleted.', { appId, request, done });
  } catch (error) {
    fail(error);
  }
}

// --- what links to a record, with counts: the way from a company to its deals

export function Links({ app, entity, row }) {
  const links = findLinks(app, entity);
  const countOne = ({ from, field }) =>
    count(app.id, from, { where: { [field.name]: row.id } }).catch(() => null);
  const counts = useLoad(() => Promise.all(links.map(countOne)), [row.id]);
  if (!links.length) return null;
  const isAmbiguous = (from) => links.filter((link) => link.from === from).length > 1;
  return html`<section class="card side-card">
    <h2>What links here</h2>
    <ul class="plain links">
      ${links.map(
        ({ from, field }, index) => html`<${Link}
          key=${from.name + field.name}
          appId=${app.id}
          table=${from.name}
          field=${field}
          id=${row.id}
          count=${counts.data?.[index] ?? '…'}
          isAmbiguous=${isAmbiguous(from)}
        />`,
      )}
    </ul>
  </section>`;
}

/** The tables that link to an entity, with the fields by which they do. */
function findLinks(app, entity) {
  const readable = app.entities.filter((from) => may(app.id, from.name, 'read'));
  return readable.flatMap((from) => {
    const fields = from.fields.filter((field) => field.references === entity.name);
    return fields.map((field) => ({ from, field }));
  });
}

function Link({ appId, table, field, id, count: number, isAmbiguous }) {
  const where = stringify({ [field.name]: { $eq: id } });
  const title = `New ${toWords(table).toLowerCase()}`;
  const fieldName = toWords(field.name).toLowerCase();
  return html`<li class="row">
    <${A} class="grow" to=${['data', appId, table]} query=${{ where }}>
      ${toWords(table)}
      ${isAmbiguous && html` <small>by ${fieldName}</small>`}
    <//>
    <span class="dim num">${number}</span>
    ${
      may(appId, table, 'create') &&
      html`<${A}
        class="add"
        to=${['record', appId, table, 'new']}
        query=${{ [field.name]: id }}
        title=${title}
        aria-label=${title}
      >
        ${icon('plus')}
      <//>`
    }
  </li>`;
}

// --- changes of others: shown at once, or announced while the user types

/** Milliseconds for which a change is marked. */
const MARKED = 1000;
/** Milliseconds until a change is shown: what the user saves here has come back by then. */
const COLLECTED = 250;

/**
 * @param {{appId: string, entity: any, path: string, row: any, reload: () => void}} props `row` is the record as
 *   it is shown
 * @returns {{later: ''|'changed'|'gone', isMarked: boolean}} `later` is what is not shown yet
 */
export function useLiveRecord({ appId, entity, path, row, reload }) {
  const [later, setLater] = useState(/** @type {''|'changed'|'gone'} */ (''));
  const [isMarked, setMarked] = useState(false);
  const shown = useRef(row);
  shown.current = row;
  const timers = useRef([]);
  const wait = (run, pause) => timers.current.push(setTimeout(run, pause));
  const show = (record) => {
    if (record.updated_at === shown.current?.updated_at) return;
    if (guards.size) {
      setLater('changed'); // what the user typed stays
      return;
    }
    reload();
    setMarked(true);
    wait(() => setMarked(false), MARKED);
  };
  /** It may have changed before the stream began. */
  const compare = () => loadRecord(path).then(show, () => {});
  const take = (events) => {
    const event = events.findLast(({ type }) => type !== 'ready');
    if (!event) return;
    if (event.type === 'leave') setLater('gone');
    else if (event.type === 'resync') wait(event.reason ? reload : compare, 0);
    else if (event.record) wait(() => show(event.record), COLLECTED);
  };
  useFeed({ appId, entity, where: { id: row?.id }, isOn: Boolean(row) }, take);
  useEffect(() => setLater(''), [row]);
  useEffect(() => () => timers.current.forEach(clearTimeout), []);
  return { later, isMarked };
}

/** Says what happened to a record meanwhile. @param {{later: string, reload: () => void}} props */
export function LaterNotice({ later, reload }) {
  if (later === 'gone')
    return html`<div class="notice bad" role="status">
      This record was deleted meanwhile, or is not yours to see any more.
    </div>`;
  if (later === 'changed')
    return html`<div class="notice" role="status">
      Another user has changed this record.
      <button onClick=${reload}>Discard mine and show it</button>
    </div>`;
  return null;
}
