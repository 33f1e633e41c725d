/** Accounts: the list of them, making one, and inviting a person to make one. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url, user as me } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { A, setQuery } from '../../core/router.js';
import { Ago, Head, Listing, copy } from '../../core/screen.js';
import { admin, apps, findApp, forgetUsers, nameAccount } from '../../core/store.js';
import {
  Empty,
  ErrorBox,
  Input,
  Loaded,
  NewPassword,
  attempt,
  icon,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { User } from './user.js';

const PAGE = 1000;
const INVITES = '/api/v1/users/invites';
const DAY = 86_400_000;
const COLOURS = { open: 'info', used: 'good', expired: '' };

/** Every account, for core admins with what secures it and the last sign-in. */
async function loadAccounts() {
  if (!admin.value) return get('/api/v1/users');
  const accounts = [];
  let page;
  do {
    page = await get('/api/v1/users/accounts', { limit: PAGE, after: accounts.at(-1)?.id });
    accounts.push(...page);
  } while (page.length === PAGE);
  return accounts;
}

/** The accounts, each with its roles on the apps that the caller is admin of. */
async function loadPeople() {
  const [accounts, assignments] = await Promise.all([
    loadAccounts(),
    get('/api/v1/permissions/assignments').catch(() => []),
  ]);
  const rolesOf = new Map(accounts.map((account) => [account.id, []]));
  for (const assignment of assignments) rolesOf.get(assignment.userId)?.push(assignment);
  return accounts.map((account) => ({ ...account, roles: rolesOf.get(account.id) }));
}

export default function Users({ parts: [id], query: { q: text = '' } }) {
  const users = useLoad(loadPeople, []);
  const [round, setRound] = useState(0);
  const reload = () => {
    forgetUsers();
    users.reload();
  };
  if (id)
    return html`<${Loaded} of=${users}>
      ${(accounts) => {
        const account = accounts.find((candidate) => candidate.id === id);
        return html`<${User} key=${id} account=${account} reload=${reload} />`;
      }}
    <//>`;
  const add = async () => {
    const isMade = await openDialog(NewUser, { label: 'New user' });
    if (isMade) reload();
  };
  const invite = async () => {
    if (await openInvite()) setRound(round + 1);
  };
  const search = (event) => setQuery({ q: event.target.value || null }, { replace: true });
  return html`<${Head} title="Users" request=${{ method: 'GET', path: '/api/v1/users' }}>
      <input
        type="search"
        data-filter
        aria-label="Find a user"
        placeholder="Find"
        value=${text}
        onInput=${search}
      />
      ${
        admin.value &&
        html`<button onClick=${invite}>${icon('link')}Invite</button>
          <button class="primary" onClick=${add}>${icon('plus')}New user</button>`
      }
    <//>
    <${Loaded} of=${users}>
      ${(accounts) => html`<${List} accounts=${accounts.filter((account) => matches(account, text))} />`}
    <//>
    ${admin.value && !text && html`<${Invites} round=${round} />`}`;
}

function matches(account, text) {
  const { username, display_name: name, email } = account;
  return `${username} ${name ?? ''} ${email ?? ''}`.toLowerCase().includes(text.toLowerCase());
}

function List({ accounts }) {
  const since = admin.value ? 'Last sign-in' : 'Since';
  return html`<${Listing} heads=${['Name', 'Username', 'Email', 'Roles', since, '']}>
    ${accounts.map(
      (account) => html`<tr key=${account.id}>
        <td><${A} to=${['users', account.id]}><b>${nameAccount(account)}</b><//></td>
        <td>${account.username}</td>
        <td>${account.email ?? html`<span class="dim">–</span>`}</td>
        <td><${RoleTags} roles=${account.roles} /></td>
        <td class="nowrap">
          <${Ago} at=${admin.value ? account.last_sign_in : account.created_at} />
        </td>
        <td class="right"><${Marks} account=${account} /></td>
      </tr>`,
    )}
  <//>
    ${!accounts.length && html`<${Empty} title="No such user" glyph="users" />`}`;
}

const RoleTags = ({ roles }) =>
  roles.map(
    ({ app, role }) =>
      html`<span class="tag" key=${app + role} title=${`${role} of ${app}`}>${app}: ${role}</span> `,
  );

const Marks = ({ account }) => html`
  ${account.second_factor && html`<span class="tag good" title="Second factor">2nd factor</span>`}
  ${account.kind === 'service' && html`<span class="tag">service</span>`}
  ${account.disabled && html`<span class="tag bad">disabled</span>`}
  ${account.id === me.value.id && html`<span class="tag info">you</span>`}
`;

function NewUser({ close }) {
  const [form, bind] = useForm({ username: '', password: '', email: '', display_name: '' });
  const [isService, setService] = useState(false);
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      toast(isService ? await makeService(form) : await register(form));
      close(true);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit} autocomplete="off">
    <h2>New user</h2>
    <${Input} title="Username" required autofocus ...${bind('username')} />
    <${Input} title="Display name" ...${bind('display_name')} />
    <label class="check">
      <input
        type="checkbox"
        checked=${isService}
        onChange=${(event) => setService(event.target.checked)}
      />
      A service account: no password, API keys only
    </label>
    ${
      !isService &&
      html`<${Input} title="Email" type="email" ...${bind('email')} />
        <${NewPassword} required ...${bind('password')} />`
    }
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Create</button>
    </div>
  </form>`;
}

/** Make the account; return what to say. */
async function makeService({ username, display_name }) {
  await post('/api/v1/users/service', { username, display_name });
  return `${username} is a service account.`;
}

async function register(form) {
  const filled = Object.entries(form).filter(([, value]) => value);
  await post('/api/v1/auth/register', Object.fromEntries(filled));
  return `${form.username} can sign in now.`;
}

/** Make an invite in a dialog; resolves with true where one was made. */
const openInvite = () =>
  openDialog((dialog) => html`<${NewInvite} ...${dialog} />`, { label: 'Invite' });

const nameApp = (id) => (id === 'core' ? 'This server' : (findApp(id)?.name ?? id));

/** The invites that were made lately; nothing without any. */
function Invites({ round }) {
  const list = useLoad(() => get(INVITES), [round]);
  const withdraw = (invite) =>
    attempt(async () => {
      await remove(url`/api/v1/users/invites/${invite.id}`);
      toast('Invite withdrawn.');
      list.reload();
    });
  return html`<${Loaded} of=${list}>
    ${(invites) =>
      invites.length > 0 &&
      html`<section class="shop">
        <h2>Invites</h2>
        <${Listing} heads=${['For', 'Role', 'State', 'Ends', '']}>
          ${invites.map(
            (invite) => html`<tr key=${invite.id}>
              <td>${invite.used_by ?? invite.email ?? 'holder of the link'}</td>
              <td>${invite.role ? `${invite.role} of ${nameApp(invite.app)}` : '–'}</td>
              <td><span class="tag ${COLOURS[invite.state]}">${invite.state}</span></td>
              <td class="nowrap"><${Ago} at=${invite.expires} /></td>
              <td class="right">
                ${
                  invite.state === 'open' &&
                  html`<button class="small" onClick=${() => withdraw(invite)}>
                    Withdraw
                  </button>`
                }
              </td>
            </tr>`,
          )}
        <//>
      </section>`}
  <//>`;
}

function NewInvite({ close }) {
  const [form, bind] = useForm({ email: '', app: '', role: '', days: '7' });
  const [made, setMade] = useState(null);
  const [error, setError] = useState(null);
  const roles = useLoad(
    () => (form.app ? get(url`/api/v1/apps/${form.app}/roles`) : Promise.resolve([])),
    [form.app],
  );
  const submit = async (event) => {
    event.preventDefault();
    const body = { expires: new Date(Date.now() + Number(form.days) * DAY).toISOString() };
    if (form.email) body.email = form.email;
    if (form.app) Object.assign(body, { app: form.app, role: form.role });
    try {
      setMade(await post(INVITES, body));
    } catch (problem) {
      setError(problem);
    }
  };
  if (made) return html`<${MadeInvite} made=${made} close=${close} />`;
  const places = [['core', 'This server'], ...apps.value.map((app) => [app.id, app.name])];
  return html`<form class="stack" onSubmit=${submit} autocomplete="off">
    <h2>Invite</h2>
    <p class="dim">You get a link. Its holder makes one account.</p>
    <${Input} title="Email" note="optional" type="email" autofocus ...${bind('email')} />
    <label class="field">
      <span>App</span>
      <select ...${bind('app')}>
        <option value="">No role</option>
        <${Options} choices=${places} chosen=${form.app} />
      </select>
    </label>
    ${
      form.app &&
      html`<label class="field">
        <span>Role</span>
        <select required ...${bind('role')}>
          <option value="">Choose</option>
          <${Options} choices=${(roles.data ?? []).map((role) => role.name)} chosen=${form.role} />
        </select>
      </label>`
    }
    <${Input} title="Days" type="number" min="1" max="30" required ...${bind('days')} />
    <${ErrorBox} error=${error ?? roles.error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Make the link</button>
    </div>
  </form>`;
}

const MadeInvite = ({ made, close }) => html`<div class="stack">
  <h2>The link</h2>
  <p>
    ${made.sent ? 'It was sent.' : 'Send it yourself: nothing was mailed.'} It is not shown again.
  </p>
  <input
    readonly
    aria-label="Link of the invite"
    value=${made.link}
    onFocus=${(event) => event.target.select()}
  />
  <div class="actions">
    <button onClick=${() => copy(made.link, 'Link copied')}>Copy</button>
    <button class="primary" autofocus onClick=${() => close(true)}>Done</button>
  </div>
</div>`;
