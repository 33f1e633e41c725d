/** Accounts, and the roles of one user on every app. */
import { html, useState } from '../../core/kit.js';
import { get, patch, post, remove, url, user as me } from '../../core/api.js';
import { A, go, setQuery } from '../../core/router.js';
import { admin, apps, forgetUsers, loadApps } from '../../core/store.js';
import {
  Ago,
  Empty,
  ErrorBox,
  Head,
  Input,
  Loaded,
  NewPassword,
  confirm,
  fail,
  icon,
  openDialog,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';
import { Keys } from './keys.js';

const nameOf = (u) => u.display_name || u.username;

export default function Users({ parts: [id], query: { q: find = '' } }) {
  const users = useLoad(() => get('/api/v1/users'), []);
  const reload = () => {
    forgetUsers();
    users.reload();
  };
  if (id)
    return html`<${Loaded} of=${users}>
      ${(all) => html`<${User} key=${id} user=${all.find((u) => u.id === id)} reload=${reload} />`}
    <//>`;
  const add = async () => {
    if (await openDialog(NewUser, { label: 'New user' })) reload();
  };
  const hit = (u) =>
    `${u.username} ${u.display_name ?? ''} ${u.email ?? ''}`
      .toLowerCase()
      .includes(find.toLowerCase());
  return html`<${Head} title="Users" request=${{ method: 'GET', path: '/api/v1/users' }}>
      <input
        type="search"
        data-filter
        aria-label="Find a user"
        placeholder="Find"
        value=${find}
        onInput=${(e) => setQuery({ q: e.target.value || null }, { replace: true })}
      />
      ${
        admin.value && html`<button class="primary" onClick=${add}>${icon('plus')}New user</button>`
      }
    <//>
    <${Loaded} of=${users}>
      ${(all) => html`<div class="scrollx">
          <table class="list">
            <thead><tr><th>Name</th><th>Username</th><th>Email</th><th>Since</th><th /></tr></thead>
            <tbody>
              ${all.filter(hit).map(
                (u) => html`<tr key=${u.id}>
                  <td><${A} to=${['users', u.id]}><b>${nameOf(u)}</b><//></td>
                  <td>${u.username}</td>
                  <td>${u.email ?? html`<span class="dim">–</span>`}</td>
                  <td class="nowrap"><${Ago} at=${u.created_at} /></td>
                  <td class="right">
                    ${u.kind === 'service' && html`<span class="tag">service</span>`}
                    ${u.disabled && html`<span class="tag bad">disabled</span>`}
                    ${u.id === me.value.id && html`<span class="tag info">you</span>`}
                  </td>
                </tr>`,
              )}
            </tbody>
          </table>
        </div>
        ${!all.filter(hit).length && html`<${Empty} title="No such user" glyph="users" />`}`}
    <//>`;
}

function NewUser({ close }) {
  const [form, bind] = useForm({ username: '', password: '', email: '', display_name: '' });
  const [service, setService] = useState(false);
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      const { username, display_name } = form;
      if (service) await post('/api/v1/users/service', { username, display_name });
      else
        await post(
          '/api/v1/auth/register',
          Object.fromEntries(Object.entries(form).filter(([, v]) => v)),
        );
      toast(service ? `${username} is a service account.` : `${username} can sign in now.`);
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
        checked=${service}
        onChange=${(e) => setService(e.target.checked)}
      />
      A service account: no password, API keys only
    </label>
    ${
      !service &&
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

function User({ user, reload }) {
  if (!user) return html`<${Empty} title="There is no such user" glyph="users" />`;
  const change = async (changes, said) => {
    try {
      await patch(url`/api/v1/users/${user.id}`, changes);
      toast(said);
      reload();
    } catch (error) {
      fail(error);
    }
  };
  const drop = async () => {
    if (
      !(await confirm(
        `Delete ${nameOf(user)}?`,
        'The account and its roles are removed. Its records stay.',
        { yes: 'Delete', typed: user.username },
      ))
    )
      return;
    try {
      await remove(url`/api/v1/users/${user.id}`);
      toast('User deleted.');
      reload();
      go(['users']);
    } catch (error) {
      fail(error);
    }
  };
  const disable = async () => {
    if (
      user.disabled ||
      (await confirm(
        `Disable ${nameOf(user)}?`,
        'All sessions end within a second. The account can be enabled again.',
        { yes: 'Disable' },
      ))
    )
      change({ disabled: !user.disabled }, user.disabled ? 'User enabled.' : 'User disabled.');
  };
  return html`<nav class="crumbs" aria-label="Where this is"><${A} to=${['users']}>Users<//></nav>
    <${Head}
      title=${nameOf(user)}
      sub=${html`${user.username}
        ${user.email ? ` · ${user.email}` : ''} · since <${Ago} at=${user.created_at} />`}
      request=${{ method: 'GET', path: '/api/v1/users' }}
    >
      ${
        admin.value &&
        html`<button
            onClick=${() =>
              openDialog(
                ({ close }) => html`<${EditUser} user=${user} close=${close} save=${change} />`,
                { label: 'Edit the user' },
              )}
          >
            ${icon('edit')}Edit
          </button>
          <button onClick=${disable}>${user.disabled ? 'Enable' : 'Disable'}</button>
          <button class="quiet icon" aria-label="Delete the user" title="Delete" onClick=${drop}>
            ${icon('trash')}
          </button>`
      }
    <//>
    ${user.disabled && html`<div class="notice bad">This account is disabled.</div>`}
    <${Roles} user=${user} />
    ${user.kind === 'service' && admin.value && html`<${Keys} owner=${user} />`}`;
}

function EditUser({ user, close, save }) {
  const [form, bind] = useForm({
    display_name: user.display_name ?? '',
    email: user.email ?? '',
    password: '',
  });
  const submit = (e) => {
    e.preventDefault();
    close();
    save(
      {
        display_name: form.display_name || null,
        email: form.email || null,
        ...(form.password ? { password: form.password } : {}),
      },
      'User changed.',
    );
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>${user.username}</h2>
    <${Input} title="Display name" autofocus ...${bind('display_name')} />
    <${Input} title="Email" type="email" ...${bind('email')} />
    ${
      user.kind !== 'service' &&
      html`<${NewPassword} title="New password" ...${bind('password')} />`
    }
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Save</button>
    </div>
  </form>`;
}

/** The roles of a user by app, to give and take. */
function Roles({ user }) {
  const shown = [
    ...(admin.value ? [{ id: 'core', name: 'This server' }] : []),
    ...apps.value.filter((a) => a.admin),
  ];
  const mine = user.id === me.value.id;
  const list = mine && !shown.length ? apps.value : shown;
  const roles = useLoad(
    () =>
      Promise.all(
        list.map(async (app) => {
          const [held, known] = await Promise.all([
            get(url`/api/v1/apps/${app.id}/permissions/${user.id}`),
            app.admin || admin.value ? get(url`/api/v1/apps/${app.id}/roles`) : [],
          ]);
          return { app, held, known };
        }),
      ),
    [user.id],
  );
  const act = async (app, verb, role) => {
    try {
      toast(
        (await post(`/api/v1/apps/${app.id}/roles/${verb}`, { userId: user.id, role })).message,
      );
      roles.reload();
      if (mine) loadApps();
    } catch (error) {
      fail(error);
    }
  };
  return html`<${Loaded} of=${roles}>
    ${(all) => html`<div class="cards">
        ${all.map(
          ({ app, held, known }) => html`<section class="card" key=${app.id}>
            <h2>${app.name}</h2>
            <div class="row">
              ${held.roles.map(
                (role) => html`<span class="tag info" key=${role}>
                  ${role}
                  ${
                    known.length > 0 &&
                    html`<button
                      class="link"
                      aria-label=${`Take the role ${role}`}
                      onClick=${() => act(app, 'revoke', role)}
                    >
                      ${icon('x')}
                    </button>`
                  }
                </span>`,
              )}
              ${!held.roles.length && html`<span class="dim">No role</span>`}
            </div>
            ${
              known.some((r) => !held.roles.includes(r.name)) &&
              html`<p>
                <select
                  aria-label=${`Give a role on ${app.name}`}
                  onChange=${(e) => {
                    if (e.target.value) act(app, 'assign', e.target.value);
                    e.target.value = '';
                  }}
                >
                  <option value="">Give a role…</option>
                  ${known
                    .filter((r) => !held.roles.includes(r.name))
                    .map((r) => html`<option key=${r.name}>${r.name}</option>`)}
                </select>
              </p>`
            }
            <details>
              <summary class="dim">${held.permissions.length} effective ${held.permissions.length === 1 ? 'permission' : 'permissions'}</summary>
              <ul class="plain mono">
                ${held.permissions.map((p) => html`<li key=${p}>${p}</li>`)}
              </ul>
            </details>
            <${A} to=${['explain']} query=${{ user: user.id, app: app.id }}>Explain…<//>
          </section>`,
        )}
      </div>
      ${!all.length && html`<p class="dim">You see the roles of others where you are an admin.</p>`}`}
  <//>`;
}
