/** The audit trail: who changed what, with a diff, and everything of one request. */
import { html, useState } from '../../core/kit.js';
import { get } from '../../core/api.js';
import { A, setQuery } from '../../core/router.js';
import { Ago, CopyAs, Head } from '../../core/screen.js';
import {
  admin,
  apps,
  features,
  findApp,
  loadUsers,
  nameAccount,
  nameAccounts,
  toWords,
} from '../../core/store.js';
import { Empty, IconButton, Loaded, Typed, attempt, icon, useLoad } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { shortenId } from '../../parts/titles.js';
import { isSame } from '../../parts/values.js';
import { Diff } from '../record/history.js';

const PATH = '/api/v1/audit';
const PAGE = 100;
const OPERATIONS = [
  'INSERT',
  'UPDATE',
  'DELETE',
  'LOGIN',
  'LOGIN_FAILED',
  'ROLE_ASSIGNED',
  'ROLE_REVOKED',
  'APP_INSTALLED',
  'APP_UPDATED',
  'SECRET_SET',
  'DEPLOYED',
];
const SERVER_TABLES = ['users', 'sessions', 'roles', 'role_assignments', 'apps', 'secrets'];

/** The parameters of the request; who is no core admin sees one app at a time. */
function readFilter(query, ownApps) {
  const firstId = admin.value ? undefined : ownApps[0]?.id;
  return {
    app_id: query.app ?? firstId,
    entity: query.entity,
    record_id: query.record,
    operation: query.operation,
    actor_id: query.actor,
    request_id: query.request,
    limit: PAGE,
  };
}

export default function Audit({ query }) {
  const ownApps = apps.value.filter((app) => app.admin);
  const filter = readFilter(query, ownApps);
  const [older, setOlder] = useState([]);
  const loaded = useLoad(async () => {
    setOlder([]);
    const [newest, accounts] = await Promise.all([get(PATH, filter), loadUsers()]);
    return { newest, accounts, names: nameAccounts(accounts) };
  }, [JSON.stringify(filter)]);
  const addOlder = (last) =>
    attempt(async () => {
      const rows = await get(PATH, { ...filter, before: last.id });
      setOlder([...older, ...rows]);
    });
  return html`<${Head}
      title="Audit"
      sub="Written by the database itself, whatever made the change; nothing can be altered or removed."
    >
      <${CopyAs} request=${{ method: 'GET', path: PATH, query: filter }} />
    <//>
    ${admin.value && html`<${Evidence} />`}
    <${Filters}
      query=${query}
      shownApps=${admin.value ? apps.value : ownApps}
      appId=${filter.app_id}
      accounts=${loaded.data?.accounts ?? []}
    />
    <${Loaded} of=${loaded}>
      ${({ newest, names }) => {
        const rows = [...newest, ...older];
        if (!rows.length)
          return html`<${Empty} title="Nothing is recorded" glyph="audit">
            No row of the trail fits.
          <//>`;
        const hasMore = newest.length === PAGE;
        const goOn = () => addOlder(rows.at(-1));
        return html`<ol class="plain trail">
            ${rows.map(
              (row) => html`<${TrailRow} key=${row.id} row=${row} name=${names[row.actor_id]} />`,
            )}
          </ol>
          ${hasMore && html`<button onClick=${goOn}>Older</button>`}`;
      }}
    <//>`;
}

function Filters({ query, shownApps, appId, accounts }) {
  const server = admin.value ? [['core', 'This server']] : [];
  const appChoices = [...server, ...shownApps.map((app) => [app.id, app.name])];
  const tables = query.app === 'core' ? SERVER_TABLES : (findApp(appId)?.entities ?? []);
  const tableChoices = tables.map((name) => [name, toWords(name)]);
  const operationChoices = OPERATIONS.map((name) => [name, nameOperation(name)]);
  const userChoices = accounts.map((account) => [account.id, nameAccount(account)]);
  return html`<div class="row filters">
    <${Filter} label="App" name="app" choices=${appChoices} query=${query} />
    <${Filter} label="Table" name="entity" choices=${tableChoices} query=${query} />
    <${Filter} label="Operation" name="operation" choices=${operationChoices} query=${query} />
    <${Filter} label="By" name="actor" choices=${userChoices} query=${query} />
    <${Typed}
      aria-label="Record id"
      placeholder="Record id"
      value=${query.record}
      change=${(record) => setQuery({ record })}
    />
    ${query.request && html`<${RequestTag} id=${query.request} />`}
  </div>`;
}

function Filter({ label, name, choices, query }) {
  if (!choices.length) return null;
  const choose = (event) => setQuery({ [name]: event.target.value || null });
  const all = ['', `${label}: all`];
  return html`<select aria-label=${label} onChange=${choose}>
    <${Options} choices=${[all, ...choices]} chosen=${query[name] ?? ''} />
  </select>`;
}

const RequestTag = ({ id }) => html`<span class="tag info">
  request ${shortenId(id)} <button
    class="link"
    aria-label="All requests"
    onClick=${() => setQuery({ request: null })}
  >
    ${icon('x')}
  </button>
</span>`;

// --- whether the trail is as it was sealed: one line for core admins

const EVIDENCE = '/api/v1/audit/evidence';
/** The rows that are compared each time: those of the last hour. All of them are the command's. */
const HOUR = 3600_000;

/** What is wrong, as `caudex audit verify` says it. */
function describe(problem) {
  if (problem.kind === 'seal')
    return `Seal ${problem.id} is not as it was signed, or does not follow its predecessor`;
  return `Row ${problem.id} was ${problem.kind} after it was sealed`;
}

/** How many rows have no seal yet. */
const countPending = (count) =>
  count === 1 ? 'one newer row is not sealed yet' : `${count} newer rows are not sealed yet`;

export function Evidence() {
  const loaded = useLoad(
    (signal) => get(EVIDENCE, { since: new Date(Date.now() - HOUR).toISOString() }, { signal }),
    [],
  );
  if (loaded.error) return html`<p class="dim evidence">${loaded.error.message}</p>`;
  const report = loaded.data;
  if (!report) return html`<p class="dim evidence">Comparing the trail with its seals…</p>`;
  if (report.problem)
    return html`<p class="evidence" role="alert">
      <span class="tag bad">changed</span>${' '}${describe(report.problem)}
      ${report.problem.at && html` (<${Ago} at=${report.problem.at} />)`}.
    </p>`;
  if (!report.verified_until) return html`<p class="dim evidence">No row is sealed yet.</p>`;
  return html`<p class="dim evidence">
    <span class="tag good">verified</span>${' '}up to <${Ago} at=${report.verified_until} />
    ${report.pending > 0 && html`, ${countPending(report.pending)}`}
  </p>`;
}

// --- one row of the audit trail: what changed, by whom, and in which request

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
      <${IconButton}
        isSmall
        glyph=${isOpen ? 'down' : 'right'}
        label="Show the change"
        aria-expanded=${isOpen}
        onClick=${() => setOpen(!isOpen)}
      />
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
