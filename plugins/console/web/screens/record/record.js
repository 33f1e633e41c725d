/** One record: its form, what links to it, and its history. */
import { html, useEffect, useState } from '../../core/kit.js';
import { remove, url } from '../../core/api.js';
import { A, go } from '../../core/router.js';
import { describe, may, pagesFor, words } from '../../core/store.js';
import {
  Ago,
  Empty,
  ErrorBox,
  Head,
  Loaded,
  confirm,
  fail,
  icon,
  toast,
  useLoad,
  CopyAs,
} from '../../core/ui.js';
import { Fields, problemOf, textsOf } from '../../parts/fields.js';
import { titleOf } from '../../parts/titles.js';
import { fromText, toText } from '../../parts/values.js';
import { History } from './history.js';
import { Links } from './links.js';
import { RowActions } from '../../kit/actions.js';
import { Tile } from '../../kit/tile.js';
import { NewRecord } from './new.js';
import { loadRecord, saveRecord } from './save.js';

export default function RecordScreen({ parts: [appId, name, id], query }) {
  const app = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${app}>
    ${(found) => {
      const entity = found.entities.find((e) => e.name === name);
      if (!entity)
        return html`<${Empty} title="There is no such table" glyph="table">
          It may have been removed.
        <//>`;
      if (id === 'new') return html`<${Create} appId=${appId} entity=${entity} preset=${query} />`;
      return html`<${Record} key=${id} app=${found} entity=${entity} id=${id} />`;
    }}
  <//>`;
}

const Crumbs = ({ appId, entity, children }) => html`<nav
  class="crumbs"
  aria-label="Where this is"
>
  <${A} to=${['data', appId, entity.name]}>${words(entity.name)}<//>
  ${icon('right')}
  <span class="cut">${children}</span>
</nav>`;

function Create({ appId, entity, preset }) {
  const done = (row) =>
    go(row ? ['record', appId, entity.name, row.id] : ['data', appId, entity.name]);
  return html`<${Crumbs} appId=${appId} entity=${entity}>New<//>
    <${Head}
      title="New record"
      request=${{
        method: 'POST',
        path: url`/api/v1/apps/${appId}/collections/${entity.name}`,
        body: preset,
      }}
    />
    <${NewRecord} appId=${appId} entityName=${entity.name} preset=${preset} done=${done} page />`;
}

function Record({ app, entity, id }) {
  const path = url`/api/v1/apps/${app.id}/collections/${entity.name}/${id}`;
  const loaded = useLoad((signal) => loadRecord(path, signal), [path]);
  const [round, again] = useState(0);
  if (loaded.error?.status === 404)
    return html`<${Empty} title="There is no such record" glyph="table">
      <${A} to=${['data', app.id, entity.name]}>Back to the table<//>
    <//>`;
  return html`<${Loaded} of=${loaded}>
    ${(row) => html`<${Crumbs} appId=${app.id} entity=${entity}>${titleOf(entity, row)}<//>
      <${Head}
        title=${titleOf(entity, row)}
        sub=${html`Created <${Ago} at=${row.created_at} /> · changed <${Ago} at=${row.updated_at} />`}
      >
        <${RowActions} appId=${app.id} entity=${entity} ids=${[id]} done=${loaded.reload} />
        <${CopyAs} request=${{ method: 'GET', path }} />
        ${
          may(app.id, entity.name, 'delete') &&
          html`<button
            class="quiet icon"
            aria-label="Delete"
            title="Delete"
            onClick=${() => drop(app.id, entity, row, path)}
          >
            ${icon('trash')}
          </button>`
        }
      <//>
      <div class="split">
        <div>
          <${Edit}
            appId=${app.id}
            entity=${entity}
            row=${row}
            onSaved=${(saved) => {
              loaded.set(saved);
              again(round + 1);
            }}
            onReload=${loaded.reload}
          />
        </div>
        <aside>
          ${pagesFor('record', app.id, entity.name).map(
            (page) => html`<section class="card side-card" key=${page.plugin + page.id}>
              <h2>${page.title}</h2>
              <${Tile} page=${page} app=${app.id} entity=${entity.name} record=${row} />
            </section>`,
          )}
          <${Links} app=${app} entity=${entity} row=${row} />
          <${History} path=${path} entity=${entity} round=${round} />
        </aside>
      </div>`}
  <//>`;
}

async function drop(appId, entity, row, path) {
  if (
    !(await confirm(
      `Delete “${titleOf(entity, row)}”?`,
      'The record is gone for good. The audit trail keeps what it was.',
      { yes: 'Delete' },
    ))
  )
    return;
  try {
    await remove(path);
    toast('Record deleted.');
    go(['data', appId, entity.name]);
  } catch (error) {
    fail(error);
  }
}

/** The form. Only what was changed is sent, so that two people can edit different fields. */
function Edit({ appId, entity, row, onSaved, onReload }) {
  const shown = textsOf(entity.fields, row);
  const [values, set] = useState(shown);
  const [state, setState] = useState({});
  const [find, setFind] = useState('');
  useEffect(() => {
    set(textsOf(entity.fields, row));
    setState({});
  }, [row]);
  const changed = entity.fields.filter((f) => values[f.name] !== shown[f.name]);
  const dirty = changed.length > 0;
  useEffect(() => {
    if (!dirty) return undefined;
    const ask = (e) => e.preventDefault();
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [dirty]);
  const save = async (e) => {
    e?.preventDefault();
    setState({ busy: true });
    try {
      const body = Object.fromEntries(changed.map((f) => [f.name, fromText(f, values[f.name])]));
      const saved = await saveRecord(appId, entity, row, body);
      if (saved) {
        toast('Saved.');
        onSaved(saved);
      } else onReload();
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  const key = (e) => {
    if ((e.ctrlKey || e.metaKey) && e.key === 'Enter') save();
  };
  const editable = may(appId, entity.name, 'update');
  const fields = find
    ? entity.fields.filter((f) => words(f.name).toLowerCase().includes(find.toLowerCase()))
    : entity.fields;
  return html`<form class="stack recordform" onSubmit=${save} onKeyDown=${key}>
    ${
      entity.fields.length > 25 &&
      html`<input
        type="search"
        placeholder=${`Find one of ${entity.fields.length} fields`}
        aria-label="Find a field"
        value=${find}
        onInput=${(e) => setFind(e.target.value)}
      />`
    }
    ${
      editable
        ? html`<${Fields}
          fields=${fields}
          values=${values}
          appId=${appId}
          focus=${false}
          problems=${state.error ? problemOf(state.error, entity.fields) : {}}
          onChange=${(name, v) => set((s) => ({ ...s, [name]: v }))}
        />`
        : html`<dl class="facts">
          ${fields.map(
            (f) => html`<dt>${words(f.name)}</dt><dd>${toText(f, row[f.name]) || '–'}</dd>`,
          )}
        </dl>`
    }
    <${ErrorBox} error=${state.error} />
    ${
      editable &&
      html`<div class="savebar ${dirty ? 'dirty' : ''}">
        <button class="primary" disabled=${!dirty || state.busy}>Save</button>
        ${
          dirty &&
          html`<button type="button" onClick=${() => {
            set(shown);
            setState({});
          }}>Discard</button>
            <span class="dim">${changed.length} changed · <kbd>Ctrl Enter</kbd></span>`
        }
      </div>`
    }
  </form>`;
}
