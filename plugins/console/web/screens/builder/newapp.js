/** A new app: from a blank table, an example, or files of CSV. */
import { html, useState } from '../../core/kit.js';
import { formatQuery, post, upload, url } from '../../core/api.js';
import { go } from '../../core/router.js';
import { apps, loadApps, toWords } from '../../core/store.js';
import { ErrorBox, Input, icon, toast } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { FileDrop } from '../../form/files.js';
import { toName } from './fieldform.js';
import { AccessChoice, grantAccess } from './steps.js';
import { ColumnRows, FIRST_COLUMNS, toEntity } from './tables.js';

const RESERVED = /^(core|schema|public|information_schema|pg_.*|caudex_.*)$/;

/** The id of an app from its name: one that no app has. */
export function toAppId(name) {
  const plain = toName(name);
  const base = RESERVED.test(plain) ? `app_${plain}` : plain;
  const taken = new Set((apps.value ?? []).map((app) => app.id));
  let id = base;
  for (let number = 2; taken.has(id); number += 1) id = `${base.slice(0, 60)}_${number}`;
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

// --- from files of CSV: what the server proposes is shown, then it is made and filled

/** Bytes of a file from which its types are found; a larger one says enough by then. */
const SAMPLE = 10_000_000;
/** Bytes that a header has at most. */
const LONGEST_HEADER = 1_000_000;
const ORDERS = [
  ['', 'Say how dates are written'],
  ['dmy', 'day first: 31/12/2024'],
  ['mdy', 'month first: 12/31/2024'],
];

export function FromData() {
  const [name, setName] = useState('');
  const [files, setFiles] = useState([]);
  const [dates, setDates] = useState('');
  const [access, setAccess] = useState('all');
  const [state, setState] = useState({});
  const ask = async (chosen, order) => {
    setFiles(chosen);
    setDates(order);
    setState({ busy: 'Reading…' });
    try {
      setState({ proposal: chosen.length ? await propose(chosen, name, order) : null });
    } catch (error) {
      setState({ error });
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    const { proposal } = state;
    if (!proposal) return;
    try {
      const title = name.trim() || proposal.manifest.name;
      const manifest = { ...proposal.manifest, appId: toAppId(title), name: title };
      await post('/api/v1/apps', manifest);
      const tables = proposal.tables.map((table) => table.entity);
      await grantAccess(manifest.appId, tables, access);
      await importAll(manifest.appId, proposal.tables, files, (busy) =>
        setState({ proposal, busy }),
      );
      await loadApps();
      go(['data', manifest.appId, tables[0]]);
    } catch (error) {
      await loadApps();
      setState({ proposal, error });
    }
  };
  const remove = (file) =>
    ask(
      files.filter((other) => other !== file),
      dates,
    );
  return html`<form class="stack builder card" onSubmit=${submit}>
    <${Input}
      title="Name of the app"
      maxlength="60"
      placeholder="Workshop"
      value=${name}
      onInput=${(event) => setName(event.target.value)}
    />
    <${FileDrop} label="CSV files" accept=".csv,.tsv,.txt" take=${(file) => ask([...files, file], dates)}>
      Drop a <code>.csv</code> or <u>choose one</u>; each file becomes a table.
    <//>
    ${files.map(
      (file) => html`<div class="row" key=${file.name}>
        <span class="grow cut">${file.name}</span>
        <button
          type="button"
          class="quiet icon small"
          aria-label=${`Leave out ${file.name}`}
          onClick=${() => remove(file)}
        >
          ${icon('x')}
        </button>
      </div>`,
    )}
    ${state.proposal && html`<${Proposed} proposal=${state.proposal} dates=${dates} choose=${(order) => ask(files, order)} />`}
    ${state.proposal && html`<${AccessChoice} chosen=${access} change=${setAccess} />`}
    ${state.busy && html`<p class="dim" role="status">${state.busy}</p>`}
    <${ErrorBox} error=${state.error} />
    <div>
      <button class="primary" disabled=${!state.proposal || Boolean(state.busy)}>
        Make the app and import
      </button>
    </div>
  </form>`;
}

function Proposed({ proposal, dates, choose }) {
  const isOpen = dates || proposal.tables.some((table) => table.questions.length);
  return html`<section aria-label="Proposal" class="stack">
    ${
      isOpen &&
      html`<label class="field">
        <span>Some dates can be read in two ways</span>
        <select onChange=${(event) => choose(event.target.value)}>
          <${Options} choices=${ORDERS} chosen=${dates} />
        </select>
      </label>`
    }
    ${proposal.tables.map(
      (table) => html`<div key=${table.entity}>
        <h3>${toWords(table.entity)} <span class="dim">· ${table.rows} rows read</span></h3>
        <div class="scrollx" tabindex="0" role="region" aria-label=${`Columns of ${table.entity}`}>
          <table class="list">
            <thead>
              <tr><th>Column</th><th>Type</th><th>Why</th></tr>
            </thead>
            <tbody>
              ${table.columns.map(
                (column) => html`<tr key=${column.heading}>
                  <td>${column.heading}</td>
                  <td>${column.name ? toWords(column.type) : 'left out'}</td>
                  <td class="dim">${column.why}</td>
                </tr>`,
              )}
            </tbody>
          </table>
        </div>
      </div>`,
    )}
  </section>`;
}

async function propose(files, name, dates) {
  const form = new FormData();
  form.append('name', name.trim() || files[0].name.replace(/\.[^.]*$/, ''));
  if (dates) form.append('dates', dates);
  for (const file of files) form.append('file', await takeSample(file), file.name);
  return post('/api/v1/apps/from-data', form);
}

/** The first part of a file, to the end of a line. */
async function takeSample(file) {
  if (file.size <= SAMPLE) return file;
  const bytes = new Uint8Array(await file.slice(0, SAMPLE).arrayBuffer());
  return file.slice(0, bytes.lastIndexOf(10) + 1);
}

/** Import the files, those first that others link to. */
async function importAll(appId, tables, files, show) {
  let created = 0;
  for (const table of tables) {
    const file = files.find((one) => one.name === table.source);
    const path = url`/api/v1/apps/${appId}/collections/${table.entity}/import`;
    show(`Importing ${file.name}…`);
    const body = await nameColumns(file, table.header);
    const report = await upload(path + formatQuery(table.options), body, (part) =>
      show(`Importing ${file.name}: ${Math.round(part * 100)} % sent`),
    );
    const [first] = report.errors;
    if (first) {
      const place = `${file.name}, row ${first.row}${first.field ? `, ${first.field}` : ''}`;
      throw new Error(`The app was made, and this file was not imported. ${place}: ${first.error}`);
    }
    created += report.created;
  }
  toast(`${created} records were imported.`);
}

/** A file whose first line has the names of the fields. */
async function nameColumns(file, header) {
  const start = await file.slice(0, LONGEST_HEADER).text();
  const end = findLineEnd(start);
  const line = start.slice(0, end);
  const delimiter = [...',;\t|'].reduce((best, sign) =>
    line.split(sign).length > line.split(best).length ? sign : best,
  );
  const offset = new TextEncoder().encode(start.slice(0, end)).length;
  // A byte order mark is no part of the text.
  const mark = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const isMarked = mark[0] === 0xef && mark[1] === 0xbb;
  const rest = file.slice(offset + (isMarked && start.charCodeAt(0) !== 0xfeff ? 3 : 0));
  return new Blob([header.join(delimiter), rest], { type: 'text/csv' });
}

/** Where the first line ends; a line break in quotes is a part of a heading. */
function findLineEnd(text) {
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '"') isQuoted = !isQuoted;
    if (!isQuoted && (text[at] === '\n' || text[at] === '\r')) return at;
  }
  return text.length;
}
