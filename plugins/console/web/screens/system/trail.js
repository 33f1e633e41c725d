/** One row of the audit trail: what changed, by whom, and in which request. */
import { html, useState } from '../../core/kit.js';
import { A, setQuery } from '../../core/router.js';
import { features, findApp } from '../../core/store.js';
import { Ago } from '../../core/times.js';
import { icon } from '../../core/ui.js';
import { isSame } from '../../parts/values.js';
import { Diff } from '../record/history.js';

export const COLOURS = {
  INSERT: 'good',
  UPDATE: 'info',
  DELETE: 'bad',
  TRUNCATE: 'bad',
  LOGIN_FAILED: 'bad',
};
/** Fields that change with every change. */
const UNTOLD = ['updated_at', 'created_at', 'id'];
/** Names of changed fields that a closed row shows. */
const MOST_NAMES = 6;

/** An operation as a reader writes it. */
export const nameOperation = (operation) => operation.toLowerCase().replaceAll('_', ' ');

/** What a row changed: `[field, [before, after]]`. */
function listChanges(row) {
  const before = row.old_record ?? {};
  const after = row.new_record ?? {};
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names]
    .filter((name) => !UNTOLD.includes(name) && !isSame(before[name], after[name]))
    .map((name) => [name, [before[name], after[name]]]);
}

/** @param {{row: any, name?: string}} props `name` is that of who made the change. */
export function TrailRow({ row, name }) {
  const [isOpen, setOpen] = useState(false);
  const changes = listChanges(row);
  const names = changes.slice(0, MOST_NAMES).map(([field]) => field);
  const unnamed = row.actor_id ? 'a former user' : 'the server';
  return html`<li>
    <div class="row">
      <button
        class="quiet icon small"
        aria-expanded=${isOpen}
        aria-label="Show the change"
        onClick=${() => setOpen(!isOpen)}
      >
        ${icon(isOpen ? 'down' : 'right')}
      </button>
      <span class="tag ${COLOURS[row.operation] ?? ''}">${nameOperation(row.operation)}</span>
      <${Place} row=${row} />
      <span class="dim cut grow">${names.join(', ')}</span>
      <span>${name ?? html`<span class="dim">${unnamed}</span>`}</span>
      <span class="dim nowrap"><${Ago} at=${row.changed_at} /></span>
    </div>
    ${
      isOpen &&
      html`<div class="inner">
        <${Diff} changes=${changes} />
        <small>
          #${row.id} · ${row.changed_at} · record <code>${row.record_id}</code>
          ${row.request_id && html`<${Request} id=${row.request_id} />`}
        </small>
      </div>`
    }
  </li>`;
}

/** The table, with a link to the record where there may still be one. */
function Place({ row }) {
  const { table_schema: appId, table_name: table, record_id: id } = row;
  const text = `${appId}.${table}`;
  const isLinked = findApp(appId) && row.operation !== 'DELETE';
  if (!isLinked) return html`<span>${text}</span>`;
  return html`<${A} to=${['record', appId, table, id]}>${text}<//>`;
}

const Request = ({ id }) => html` · <button
    class="link"
    onClick=${() => setQuery({ request: id })}
  >
    request ${id}
  </button>
  ${features.value.has('trace') && html` · <${A} to=${['requests', id]}>what it caused<//>`}`;
