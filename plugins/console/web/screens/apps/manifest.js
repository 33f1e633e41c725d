/** The manifest editor: nothing is installed before its plan was seen. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { get, post } from '../../core/api.js';
import { parse, pretty } from '../../core/json.js';
import { go } from '../../core/router.js';
import { findApp, loadApps, readable } from '../../core/store.js';
import { ErrorBox, icon, toast, useLoad } from '../../core/ui.js';
import { count } from '../data/rows.js';

const NEW = pretty({
  appId: 'my_app',
  name: 'My app',
  dataContract: [
    { entityName: 'things', fields: [{ name: 'title', type: 'text', required: true }] },
  ],
});

/** Words for what the plan says, and how grave it is. */
const KINDS = {
  create_schema: ['new app', 'good'],
  create_table: ['new table', 'good'],
  add_column: ['new column', 'good'],
  restore_entity: ['back again', 'good'],
  restore_column: ['back again', 'good'],
  create_index: ['new index', 'good'],
  add_check: ['new rule', 'info'],
  add_foreign_key: ['new link', 'info'],
  set_default: ['default', 'info'],
  set_not_null: ['required', 'warn'],
  alter_type: ['type changes', 'warn'],
  retire_entity: ['retired', 'bad'],
  retire_column: ['retired', 'bad'],
  drop_index: ['index goes', 'warn'],
  drop_check: ['rule goes', 'info'],
};
/** Changes that keep other writers of the table waiting, by how long. */
const LOCKS = {
  alter_type: 'rewrites the table: writers wait',
  set_not_null: 'checks every row: writers wait',
  create_index: 'writers wait until it is built',
  add_check: 'checks every row',
  add_foreign_key: 'checks every row',
};

export function Manifest({ text: given = NEW }) {
  const [text, setText] = useState(given);
  const [state, set] = useState({});
  const area = useRef(null);
  useEffect(() => {
    setText(given);
    set({});
  }, [given]);
  const change = (e) => {
    setText(e.target.value);
    set({});
  };
  const read = () => {
    try {
      JSON.parse(text); // says where a mistake is
      return parse(text);
    } catch (error) {
      const at = Number(/position (\d+)/.exec(error.message)?.[1] ?? NaN);
      if (at >= 0) {
        area.current.focus();
        area.current.setSelectionRange(at, at + 1);
      }
      throw new Error(`This is not JSON: ${error.message}`);
    }
  };
  const plan = async (e) => {
    e?.preventDefault();
    set({ busy: true });
    try {
      const manifest = read();
      const verdict = await post('/api/v1/apps/schema/verify', manifest);
      set({ plan: verdict.changes, manifest, rows: await rowsOf(manifest.appId, verdict.changes) });
    } catch (error) {
      set({ error });
    }
  };
  const install = async () => {
    set({ ...state, busy: true });
    try {
      const reply = await post('/api/v1/apps', state.manifest);
      toast(reply.message, {
        detail: reply.ignored?.length ? `ignored: ${reply.ignored.join(', ')}` : '',
      });
      await loadApps();
      const app = findApp(state.manifest.appId);
      go(
        app && readable(app).length
          ? ['data', app.id, readable(app)[0]]
          : ['apps', state.manifest.appId],
      );
    } catch (error) {
      set({ ...state, busy: false, error });
    }
  };
  return html`<div class="split">
    <form class="stack" onSubmit=${plan}>
      <textarea
        ref=${area}
        class="mono editor"
        rows="26"
        spellcheck=${false}
        aria-label="Manifest"
        value=${text}
        onInput=${change}
        onKeyDown=${(e) => {
          if ((e.ctrlKey || e.metaKey) && e.key === 'Enter') plan();
        }}
      />
      <div class="row">
        <button class=${state.plan ? '' : 'primary'} disabled=${state.busy}>Show the plan</button>
        ${
          state.plan &&
          html`<button type="button" class="primary" disabled=${state.busy} onClick=${install}>
            ${icon('check')}Install
          </button>`
        }
        <small>Ctrl Enter shows the plan</small>
      </div>
    </form>
    <aside>
      <${ErrorBox} error=${state.error} />
      ${state.plan && html`<${Plan} changes=${state.plan} rows=${state.rows} />`}
      ${!state.plan && html`<${Keys} />`}
    </aside>
  </div>`;
}

/** How many rows the tables hold that the plan changes. */
async function rowsOf(appId, changes) {
  const touched = [
    ...new Set(
      changes.filter((c) => c.entity && c.change_type !== 'create_table').map((c) => c.entity),
    ),
  ];
  const known = findApp(appId)?.entities ?? [];
  const counts = await Promise.all(
    touched.map((name) => (known.includes(name) ? count(appId, { name }).catch(() => null) : null)),
  );
  return Object.fromEntries(touched.map((name, i) => [name, counts[i]]));
}

function Plan({ changes, rows }) {
  if (!changes.length)
    return html`<div class="notice">
      <b>Nothing changes.</b>
      <div>The database already is what this manifest says.</div>
    </div>`;
  const byTable = Map.groupBy
    ? Map.groupBy(changes, (c) => c.entity)
    : changes.reduce((m, c) => m.set(c.entity, [...(m.get(c.entity) ?? []), c]), new Map());
  return html`<section class="card" aria-label="Plan">
    <h2>Plan</h2>
    <p class="dim">
      ${changes.length} ${changes.length === 1 ? 'change' : 'changes'}, all or none. Existing data
      is kept.
    </p>
    ${[...byTable].map(
      ([entity, list]) => html`<h3 key=${entity}>
          ${entity || 'App'}
          ${rows[entity] != null && html` <span class="dim">· ${rows[entity]} rows</span>`}
        </h3>
        <ul class="plain plan">
          ${list.map((c, i) => {
            const [said, kind] = KINDS[c.change_type] ?? [c.change_type.replaceAll('_', ' '), ''];
            return html`<li key=${i}>
              <span class="tag ${kind}">${said}</span> <span>${c.column ?? ''}</span> <span
                class="dim"
              >
                ${c.detail}
              </span>
              ${
                LOCKS[c.change_type] &&
                rows[entity] > 0 &&
                html`<small class="block">${LOCKS[c.change_type]}</small>`
              }
            </li>`;
          })}
        </ul>`,
    )}
  </section>`;
}

/** The keys of a manifest, those of enabled plugins among them, from the composed JSON Schema. */
function Keys() {
  const schema = useLoad(() => get('/api/v1/manifest.schema.json'), []);
  const entries = Object.entries(schema.data?.properties ?? {});
  return html`<section class="card">
    <h2>Keys of a manifest</h2>
    <dl class="facts">
      ${entries.map(
        ([name, shape]) => html`<dt key=${name}><code>${name}</code></dt>
          <dd class="dim">${shape.description ?? [shape.type].flat().join(' or ')}</dd>`,
      )}
    </dl>
    <p class="dim">
      Field types: text, number, boolean, date, timestamp, json, uuid, entity_link, file, [text],
      [number].
    </p>
  </section>`;
}
