/** Accounts: the list of them, and making one. */
import { html, useState } from '../../core/kit.js';
import { get, post, user as me } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { A, setQuery } from '../../core/router.js';
import { Ago, Head } from '../../core/screen.js';
import { admin, forgetUsers, nameAccount } from '../../core/store.js';
import {
  Empty,
  ErrorBox,
  Input,
  Loaded,
  NewPassword,
  icon,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';
import { User } from './user.js';

export default function Users({ parts: [id], query: { q: text = '' } }) {
  const users = useLoad(() => get('/api/v1/users'), []);
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
        admin.value && html`<button class="primary" onClick=${add}>${icon('plus')}New user</button>`
      }
    <//>
    <${Loaded} of=${users}>
      ${(accounts) => html`<${List} accounts=${accounts.filter((account) => matches(account, text))} />`}
    <//>`;
}

function matches(account, text) {
  const { username, display_name: name, email } = account;
  return `${username} ${name ?? ''} ${email ?? ''}`.toLowerCase().includes(text.toLowerCase());
}

function List({ accounts }) {
  return html`<div class="scrollx">
      <table class="list">
        <thead>
          <tr><th>Name</th><th>Username</th><th>Email</th><th>Since</th><th /></tr>
        </thead>
        <tbody>
          ${accounts.map(
            (account) => html`<tr key=${account.id}>
              <td><${A} to=${['users', account.id]}><b>${nameAccount(account)}</b><//></td>
              <td>${account.username}</td>
              <td>${account.email ?? html`<span class="dim">–</span>`}</td>
              <td class="nowrap"><${Ago} at=${account.created_at} /></td>
              <td class="right"><${Marks} account=${account} /></td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${!accounts.length && html`<${Empty} title="No such user" glyph="users" />`}`;
}

const Marks = ({ account }) => html`
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
