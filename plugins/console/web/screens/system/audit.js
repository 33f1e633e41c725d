/** The audit trail: who changed what, with a diff, and everything of one request. */
import { html, useState } from '../../core/kit.js';
import { get } from '../../core/api.js';
import { CopyAs, Head } from '../../core/head.js';
import { setQuery } from '../../core/router.js';
import {
  admin,
  apps,
  findApp,
  loadUsers,
  nameAccount,
  nameAccounts,
  toWords,
} from '../../core/store.js';
import { Empty, Loaded, Typed, attempt, icon, useLoad } from '../../core/ui.js';
import { Options } from '../../form/options.js';
import { shortenId } from '../../parts/titles.js';
import { Evidence } from './evidence.js';
import { TrailRow, nameOperation } from './trail.js';

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
