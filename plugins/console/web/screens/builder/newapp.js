/** A new app: from a blank table, or an example. */
import { html, useState } from '../../core/kit.js';
import { post } from '../../core/api.js';
import { go } from '../../core/router.js';
import { apps, loadApps } from '../../core/store.js';
import { ErrorBox, Input } from '../../core/ui.js';
import { toName } from './fieldform.js';
import { AccessChoice, grantAccess } from './steps.js';
import { ColumnRows, FIRST_COLUMNS, toEntity } from './tables.js';

const RESERVED = /^(core|schema|public|information_schema|pg_.*|caudex_.*)$/;

/** The id of an app from its name: one that no app has. */
export function toAppId(name) {
  const plain = toName(name);
  const base = RESERVED.test(plain) ? `app_${plain}` : plain;
  const usedIds = new Set((apps.value ?? []).map((app) => app.id));
  let id = base;
  for (let number = 2; usedIds.has(id); number += 1) id = `${base.slice(0, 60)}_${number}`;
  return id;
}

/** The form of an app with a blank table. */
export function BlankApp() {
  const [name, setName] = useState('');
  const [table, setTable] = useState('');
  const [columns, setColumns] = useState(FIRST_COLUMNS);
  const [access, setAccess] = useState('all');
  const [state, setState] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const entity = toEntity(table, columns);
      if (!toName(name) || !entity) throw new Error('A name needs at least one letter.');
      const appId = toAppId(name);
      await post('/api/v1/apps', { appId, name: name.trim(), dataContract: [entity] });
      await grantAccess(appId, [entity.entityName], access);
      await loadApps();
      go(['data', appId, entity.entityName]);
    } catch (error) {
      setState({ error });
    }
  };
  return html`<form class="stack builder card" onSubmit=${submit}>
    <${Input}
      title="Name of the app"
      autofocus
      required
      maxlength="60"
      placeholder="Workshop"
      value=${name}
      onInput=${(event) => setName(event.target.value)}
    />
    <${Input}
      title="First table"
      required
      maxlength="60"
      placeholder="Orders"
      value=${table}
      onInput=${(event) => setTable(event.target.value)}
    />
    <${ColumnRows} columns=${columns} change=${setColumns} />
    <${AccessChoice} chosen=${access} change=${setAccess} />
    <${ErrorBox} error=${state.error} />
    <div><button class="primary" disabled=${state.busy}>Make the app</button></div>
  </form>`;
}

/** Apps to begin with. */
export function Examples() {
  const [state, setState] = useState({});
  const make = async ({ name, dataContract }) => {
    setState({ busy: true });
    try {
      const appId = toAppId(name);
      await post('/api/v1/apps', { appId, name, dataContract });
      const tables = dataContract.map((entity) => entity.entityName);
      await grantAccess(appId, tables, 'all');
      await loadApps();
      go(['data', appId, tables.at(-1)]);
    } catch (error) {
      setState({ error });
    }
  };
  return html`<div class="cards">
      ${EXAMPLES.map(
        (example) => html`<button
          class="card offer"
          key=${example.name}
          disabled=${state.busy}
          onClick=${() => make(example)}
        >
          <b>${example.name}</b>
          <span class="dim">${example.sub}</span>
        </button>`,
      )}
    </div>
    <${ErrorBox} error=${state.error} />`;
}

// --- small apps to begin with: they show types, choices and links, and are changed by clicking

const text = (name, more) => ({ name, type: 'text', ...more });
const title = (name) => text(name, { required: true });
const number = (name, more) => ({ name, type: 'number', ...more });
const date = (name) => ({ name, type: 'date' });
const link = (name, entity) => ({ name, type: 'entity_link', references: { entity } });
const notes = { name: 'notes', type: 'text', format: 'long' };
/** A choice; colours are those of its values, in order. */
const choice = (name, values, colours = []) => ({
  name,
  type: 'text',
  enum_values: values,
  colours: Object.fromEntries(
    values.slice(0, colours.length).map((value, at) => [value, colours[at]]),
  ),
});
const table = (entityName, ...fields) => ({ entityName, fields });
const email = text('email', { format: 'email' });
const money = { format: 'currency', currency: 'EUR' };

/** @type {{name: string, sub: string, dataContract: any[]}[]} */
export const EXAMPLES = [
  {
    name: 'Help desk',
    sub: 'Tickets with state and priority, and the people who wrote them.',
    dataContract: [
      table('customers', title('name'), email, text('phone')),
      table(
        'tickets',
        title('subject'),
        choice('state', ['New', 'Open', 'Waiting', 'Solved'], ['blue', 'orange', 'grey', 'green']),
        choice('priority', ['Low', 'Normal', 'Urgent'], ['grey', 'blue', 'red']),
        link('customer_id', 'customers'),
        link('assignee_id', 'core:users'),
        { name: 'due_at', type: 'timestamp' },
        { ...notes, name: 'description' },
      ),
    ],
  },
  {
    name: 'Inventory',
    sub: 'Items, where they are, and what came in and went out.',
    dataContract: [
      table('locations', title('name'), text('address')),
      table(
        'items',
        title('name'),
        text('sku'),
        number('stock'),
        number('reorder_at'),
        number('price', money),
        link('location_id', 'locations'),
        notes,
      ),
      table(
        'movements',
        link('item_id', 'items'),
        choice('kind', ['In', 'Out', 'Count'], ['green', 'orange', 'grey']),
        number('quantity', { required: true }),
        date('moved_on'),
      ),
    ],
  },
  {
    name: 'Time sheet',
    sub: 'Hours of people on projects, and what is billed.',
    dataContract: [
      table(
        'projects',
        title('name'),
        choice('state', ['Planned', 'Active', 'Done'], ['grey', 'blue', 'green']),
        number('hourly_rate', money),
      ),
      table(
        'entries',
        date('worked_on'),
        number('hours', { required: true }),
        link('project_id', 'projects'),
        link('person_id', 'core:users'),
        { name: 'billable', type: 'boolean', default_value: true },
        text('task'),
      ),
    ],
  },
];
