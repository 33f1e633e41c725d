/** One record: its form, what links to it, and its history. */
import { html, useState } from '../../core/kit.js';
import { remove, url } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { CopyAs, Head } from '../../core/head.js';
import { A, go, leave } from '../../core/router.js';
import { describe, findPages, may, toWords } from '../../core/store.js';
import { Ago } from '../../core/times.js';
import { Empty, Loaded, fail, icon, useLoad } from '../../core/ui.js';
import { RowActions } from '../../kit/actions.js';
import { Tile } from '../../kit/tile.js';
import { makeTitle } from '../../parts/titles.js';
import { hasUndo, toastUndo } from '../../parts/undo.js';
import { Edit } from './edit.js';
import { History } from './history.js';
import { Links } from './links.js';
import { LaterNotice, useLiveRecord } from './live.js';
import { NewRecord } from './new.js';
import { loadRecord } from './save.js';

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

function Record({ app, entity, id }) {
  const path = url`/api/v1/apps/${app.id}/collections/${entity.name}/${id}`;
  const loaded = useLoad((signal) => loadRecord(path, signal), [path]);
  /** Counts what was saved: the history is loaded again. */
  const [round, setRound] = useState(0);
  const reload = () => {
    loaded.reload();
    setRound((number) => number + 1);
  };
  const { later, isMarked } = useLiveRecord({ appId: app.id, entity, row: loaded.data, reload });
  if (loaded.error?.status === 404)
    return html`<${Empty} title="There is no such record" glyph="table">
      <${A} to=${['data', app.id, entity.name]}>Back to the table<//>
    <//>`;
  const showSaved = (record) => {
    loaded.set(record);
    setRound(round + 1);
  };
  return html`<${Loaded} of=${loaded}>
    ${(row) => html`<${Crumbs} appId=${app.id} entity=${entity}>${makeTitle(entity, row)}<//>
      <${RecordHead} appId=${app.id} entity=${entity} row=${row} path=${path} reload=${loaded.reload} />
      <div class="split">
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

function RecordHead({ appId, entity, row, path, reload }) {
  const times = html`Created <${Ago} at=${row.created_at} /> · changed <${Ago} at=${row.updated_at} />`;
  const drop = () => deleteRecord(appId, entity, row, path);
  return html`<${Head} title=${makeTitle(entity, row)} sub=${times}>
    <${RowActions} appId=${appId} entity=${entity} ids=${[row.id]} done=${reload} />
    <${CopyAs} request=${{ method: 'GET', path }} />
    ${
      may(appId, entity.name, 'delete') &&
      html`<button class="quiet icon" aria-label="Delete" title="Delete" onClick=${drop}>
        ${icon('trash')}
      </button>`
    }
  <//>`;
}

/** What plugins add to the record. */
function PluginCards({ appId, entity, row }) {
  return findPages('record', appId, entity.name).map(
    (page) => html`<section class="card side-card" key=${page.plugin + page.id}>
      <h2>${page.title}</h2>
      <${Tile} page=${page} app=${appId} entity=${entity.name} record=${row} />
    </section>`,
  );
}

async function deleteRecord(appId, entity, row, path) {
  const isSure = await confirm(
    `Delete “${makeTitle(entity, row)}”?`,
    hasUndo() ? 'It can be undone.' : 'The record is gone for good.',
    { yes: 'Delete' },
  );
  if (!isSure) return;
  try {
    const { requestId: request } = await remove(path, { full: true });
    const done = () => go(['record', appId, entity.name, row.id]);
    leave(['data', appId, entity.name]);
    toastUndo('Record deleted.', { appId, request, done });
  } catch (error) {
    fail(error);
  }
}
