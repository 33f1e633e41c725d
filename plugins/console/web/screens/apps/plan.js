/** What installing a manifest would change in the database. */
import { html } from '../../core/kit.js';
import { findApp } from '../../core/store.js';
import { count } from '../data/rows.js';

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
