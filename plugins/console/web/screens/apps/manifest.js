/** The manifest editor: nothing is installed before its plan was seen. */
import { focusNow, html, useEffect, useRef, useState } from '../../core/kit.js';
import { get, post } from '../../core/api.js';
import { useUnsaved } from '../../core/dialogs.js';
import { formatJson, parse } from '../../core/json.js';
import { leave } from '../../core/router.js';
import { findApp, findFirstPage, loadApps } from '../../core/store.js';
import { ErrorBox, icon, toast, useLoad } from '../../core/ui.js';
import { count } from '../data/rows.js';
import { complete, findPlace, lineOf } from './completion.js';

const NEW = formatJson({
  appId: 'my_app',
  name: 'My app',
  dataContract: [
    { entityName: 'things', fields: [{ name: 'title', type: 'text', required: true }] },
  ],
});

/** @param {{text?: string}} props `text` is what is there before the user types. */
export function Manifest({ text: start = NEW }) {
  const [text, setText] = useState(start);
  const [state, setState] = useState({});
  const [offer, setOffer] = useState(null);
  const area = useRef(null);
  const reset = (changed) => {
    setText(changed);
    setState({});
  };
  useEffect(() => reset(start), [start]);
  useUnsaved(text !== start);
  const read = () => {
    try {
      return parse(text);
    } catch (error) {
      selectMistake(area.current, text);
      throw new Error(`This is not JSON: ${error.message}`);
    }
  };
  const plan = async () => {
    setState({ busy: true });
    try {
      const manifest = read();
      const { changes } = await post('/api/v1/apps/schema/verify', manifest);
      const rows = await countTouched(manifest.appId, changes);
      setState({ changes, manifest, rows });
    } catch (error) {
      setState({ error });
    }
  };
  const install = async () => {
    const { manifest } = state;
    setState({ ...state, busy: true });
    try {
      const { message, ignored = [] } = await post('/api/v1/apps', manifest);
      toast(message, { detail: ignored.length ? `ignored: ${ignored.join(', ')}` : '' });
      await loadApps();
      leave(findFirstPage(manifest.appId));
    } catch (error) {
      setState({ ...state, busy: false, error });
    }
  };
  const submit = (event) => {
    event.preventDefault();
    plan();
  };
  const press = (event) => {
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key === 'Enter') plan();
    if (isCommand && event.key === ' ') {
      event.preventDefault();
      propose();
    }
  };
  const propose = async () => {
    const position = area.current.selectionStart;
    const schema = await get('/api/v1/manifest.schema.json');
    setOffer({ ...complete(schema, text, position), position });
  };
  /** Put a completion where the cursor was, in quotes where none are there. */
  const take = (word) => {
    const { position, typed, isKey } = offer;
    const isQuoted = typed !== null;
    const tail = isKey && !isQuoted ? ': ' : '';
    const added = isQuoted ? word.slice(typed.length) : `"${word}"${tail}`;
    reset(text.slice(0, position) + added + text.slice(position));
    setOffer(null);
    const end = position + added.length;
    setTimeout(() => {
      area.current?.focus();
      area.current?.setSelectionRange(end, end);
    });
  };
  const isPlanned = state.changes !== undefined;
  return html`<div class="split">
    <form class="stack" onSubmit=${submit}>
      <textarea
        ref=${area}
        class="mono editor"
        rows="26"
        spellcheck=${false}
        aria-label="Manifest"
        value=${text}
        onInput=${(event) => reset(event.target.value)}
        onKeyDown=${press}
      />
      <div class="row">
        <button class=${isPlanned ? '' : 'primary'} disabled=${state.busy}>Show the plan</button>
        ${
          isPlanned &&
          html`<button type="button" class="primary" disabled=${state.busy} onClick=${install}>
            ${icon('check')}Install
          </button>`
        }
        <small>Ctrl Enter shows the plan, Ctrl Space what can follow</small>
      </div>
      <${Completion} offer=${offer} take=${take} close=${() => setOffer(null)} />
    </form>
    <aside>
      <${ErrorBox} error=${state.error} />
      <${Places} text=${text} error=${state.error} area=${area} />
      ${
        isPlanned
          ? html`<${Plan} changes=${state.changes} rows=${state.rows} />`
          : html`<${Keys} />`
      }
    </aside>
  </div>`;
}

/** The lines that an error of the server names by their paths; a click leads there. */
function Places({ text, error, area }) {
  const paths =
    (error?.message ?? '').match(/\b\w+(?:\[\d+\])?(?:\.\w+(?:\[\d+\])?)*(?=: )/g) ?? [];
  const places = [...new Set(paths)].map((path) => ({ path, at: findPlace(text, path) }));
  const known = places.filter(({ at }) => at >= 0);
  const select = (at) => {
    area.current.focus();
    area.current.setSelectionRange(at, at + 1);
  };
  return known.map(
    ({
      path,
      at,
    }) => html`<button key=${path} type="button" class="link" onClick=${() => select(at)}>
      Line ${lineOf(text, at)}: ${path}
    </button>`,
  );
}

/** Members and values that can follow at the cursor; Ctrl Space shows them. */
function Completion({ offer, take, close }) {
  if (!offer) return null;
  if (!offer.options.length) return html`<p class="dim">Nothing is known for this place.</p>`;
  const press = (event) => {
    if (event.key === 'Escape') close();
  };
  return html`<div class="completion" role="group" aria-label="Completions" onKeyDown=${press}>
    ${offer.options.map(
      ({ text, hint }, index) => html`<button
        key=${text}
        type="button"
        class="small"
        title=${hint}
        ref=${index === 0 ? focusNow : null}
        onClick=${() => take(text)}
      >
        ${text}
      </button>`,
    )}
  </div>`;
}

/** Select the letter that is no JSON: the message of the browser's own reader says where it is. */
function selectMistake(area, text) {
  try {
    JSON.parse(text);
  } catch (error) {
    const position = /position (\d+)/.exec(error.message)?.[1];
    if (position === undefined) return;
    area.focus();
    area.setSelectionRange(Number(position), Number(position) + 1);
  }
}

/** The keys of a manifest, those of enabled plugins among them, from the composed JSON Schema. */
function Keys() {
  const schema = useLoad(() => get('/api/v1/manifest.schema.json'), []);
  const members = Object.entries(schema.data?.properties ?? {});
  return html`<section class="card">
    <h2>Keys of a manifest</h2>
    <dl class="facts">
      ${members.map(
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

// --- what installing a manifest would change in the database

/** Words for what the plan says, and how grave it is. */
const KINDS = {
  create_schema: ['new app', 'good'],
  create_table: ['new table', 'good'],
  add_column: ['new column', 'good'],
  rename_table: ['new name', 'good'],
  rename_column: ['new name', 'good'],
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

/** How many rows the tables hold that the plan changes, by their names. */
export async function countTouched(appId, changes) {
  const touched = changes
    .filter((change) => change.entity && change.change_type !== 'create_table')
    .map((change) => change.entity);
  const existing = findApp(appId)?.entities ?? [];
  const countOne = async (name) => {
    const isThere = existing.includes(name);
    const rows = isThere ? await count(appId, { name }).catch(() => null) : null;
    return [name, rows];
  };
  return Object.fromEntries(await Promise.all([...new Set(touched)].map(countOne)));
}

/** @param {{changes: any[], rows: Record<string, number|null>}} props */
export function Plan({ changes, rows }) {
  if (!changes.length)
    return html`<div class="notice">
      <b>Nothing changes.</b>
      <div>The database already is what this manifest says.</div>
    </div>`;
  const byTable = new Map();
  for (const change of changes) {
    const list = byTable.get(change.entity) ?? [];
    byTable.set(change.entity, [...list, change]);
  }
  const noun = changes.length === 1 ? 'change' : 'changes';
  return html`<section class="card" aria-label="Plan">
    <h2>Plan</h2>
    <p class="dim">${changes.length} ${noun}, all or none. Existing data is kept.</p>
    ${[...byTable].map(
      ([entity, list]) =>
        html`<${TablePlan} key=${entity} entity=${entity} changes=${list} rows=${rows[entity]} />`,
    )}
  </section>`;
}

function TablePlan({ entity, changes, rows }) {
  const isCounted = rows !== undefined && rows !== null;
  return html`<h3>
      ${entity || 'App'}
      ${isCounted && html` <span class="dim">· ${rows} rows</span>`}
    </h3>
    <ul class="plain plan">
      ${changes.map((change, index) => html`<${Change} key=${index} change=${change} rows=${rows} />`)}
    </ul>`;
}

function Change({ change, rows }) {
  const { change_type: type, column, detail } = change;
  const [title, kind] = KINDS[type] ?? [type.replaceAll('_', ' '), ''];
  const lock = rows > 0 && LOCKS[type];
  return html`<li>
    <span class="tag ${kind}">${title}</span> <span>${column ?? ''}</span> <span class="dim">
      ${detail}
    </span>
    ${lock && html`<small class="block">${lock}</small>`}
  </li>`;
}
