/** One account, and its roles on every app. */
import { html } from '../../core/kit.js';
import { get, patch, post, remove, url, user as me } from '../../core/api.js';
import { confirm, openDialog } from '../../core/dialogs.js';
import { A, go } from '../../core/router.js';
import { Ago, Head } from '../../core/screen.js';
import { admin, apps, loadApps, nameAccount } from '../../core/store.js';
import {
  Empty,
  IconButton,
  Input,
  Loaded,
  NewPassword,
  attempt,
  icon,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';
import { ActingSelect } from '../../form/control.js';
import { Keys } from './keys.js';

/** @param {{account: any, reload: () => void}} props */
export function User({ account, reload }) {
  if (!account) return html`<${Empty} title="There is no such user" glyph="users" />`;
  const email = account.email ? ` · ${account.email}` : '';
  const facts = html`${account.username}${email} · since <${Ago} at=${account.created_at} />
    ${admin.value && html` · last sign-in <${Ago} at=${account.last_sign_in} />`}`;
  const ownsKeys = account.kind === 'service' && admin.value;
  return html`<nav class="crumbs" aria-label="Where this is"><${A} to=${['users']}>Users<//></nav>
    <${Head}
      title=${nameAccount(account)}
      sub=${facts}
      request=${{ method: 'GET', path: '/api/v1/users' }}
    >
      ${admin.value && html`<${Changes} account=${account} reload=${reload} />`}
    <//>
    ${account.disabled && html`<div class="notice bad">This account is disabled.</div>`}
    <${Roles} account=${account} />
    ${ownsKeys && html`<${Keys} owner=${account} />`}`;
}

/** What a core admin may do with an account. */
function Changes({ account, reload }) {
  const path = url`/api/v1/users/${account.id}`;
  const change = (changes, message) =>
    attempt(async () => {
      await patch(path, changes);
      toast(message);
      reload();
    });
  const edit = () => {
    const content = ({ close }) =>
      html`<${EditUser} account=${account} close=${close} save=${change} />`;
    openDialog(content, { label: 'Edit the user' });
  };
  const enable = () => change({ disabled: false }, 'User enabled.');
  const disable = async () => {
    const text = 'All sessions end within a second. The account can be enabled again.';
    const isSure = await confirm(`Disable ${nameAccount(account)}?`, text, { yes: 'Disable' });
    if (isSure) change({ disabled: true }, 'User disabled.');
  };
  const resetFactor = async () => {
    const text = 'The user signs in by the password alone, until a new one is set up.';
    const isSure = await confirm('Remove the second factor?', text, { yes: 'Remove' });
    if (!isSure) return;
    await attempt(async () => {
      await remove(`${path}/totp`);
      toast('Second factor removed.');
      reload();
    });
  };
  const endSessions = async () => {
    const text = 'The user has to sign in again everywhere.';
    const isSure = await confirm('End all sessions?', text, { yes: 'End' });
    if (!isSure) return;
    await attempt(async () => {
      const { ended } = await remove(`${path}/sessions`);
      toast(`${ended} ${ended === 1 ? 'session' : 'sessions'} ended.`);
      reload();
    });
  };
  const drop = async () => {
    const text = 'The account and its roles are removed. Its records stay.';
    const options = { yes: 'Delete', typed: account.username };
    const isSure = await confirm(`Delete ${nameAccount(account)}?`, text, options);
    if (!isSure) return;
    await attempt(async () => {
      await remove(path);
      toast('User deleted.');
      reload();
      go(['users']);
    });
  };
  return html`<button onClick=${edit}>${icon('edit')}Edit</button>
    ${account.second_factor && html`<button onClick=${resetFactor}>Reset second factor</button>`}
    ${account.sessions > 0 && html`<button onClick=${endSessions}>End sessions</button>`}
    ${
      account.disabled
        ? html`<button onClick=${enable}>Enable</button>`
        : html`<button onClick=${disable}>Disable</button>`
    }
    <${IconButton} glyph="trash" label="Delete the user" title="Delete" onClick=${drop} />`;
}

function EditUser({ account, close, save }) {
  const [form, bind] = useForm({
    display_name: account.display_name ?? '',
    email: account.email ?? '',
    password: '',
  });
  const submit = (event) => {
    event.preventDefault();
    close();
    const changes = { display_name: form.display_name || null, email: form.email || null };
    if (form.password) changes.password = form.password;
    save(changes, 'User changed.');
  };
  const hasPassword = account.kind !== 'service';
  return html`<form class="stack" onSubmit=${submit}>
    <h2>${account.username}</h2>
    <${Input} title="Display name" autofocus ...${bind('display_name')} />
    <${Input} title="Email" type="email" ...${bind('email')} />
    ${hasPassword && html`<${NewPassword} title="New password" ...${bind('password')} />`}
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Save</button>
    </div>
  </form>`;
}

/** The apps whose roles the caller may see; of the own account also those without rights to give. */
function listApps(isMine) {
  const server = admin.value ? [{ id: 'core', name: 'This server' }] : [];
  const administered = [...server, ...apps.value.filter((app) => app.admin)];
  const showsOwn = isMine && !administered.length;
  return showsOwn ? apps.value : administered;
}

/** The roles of a user by app, to give and take. */
function Roles({ account }) {
  const isMine = account.id === me.value.id;
  const loadRights = async (app) => {
    const isGiver = app.admin || admin.value;
    const [held, roles] = await Promise.all([
      get(url`/api/v1/apps/${app.id}/permissions/${account.id}`),
      isGiver ? get(url`/api/v1/apps/${app.id}/roles`) : [],
    ]);
    return { app, held, roleNames: roles.map((role) => role.name) };
  };
  const rights = useLoad(() => Promise.all(listApps(isMine).map(loadRights)), [account.id]);
  const act = (app, verb, role) =>
    attempt(async () => {
      const path = `/api/v1/apps/${app.id}/roles/${verb}`;
      const reply = await post(path, { userId: account.id, role });
      toast(reply.message);
      rights.reload();
      if (isMine) loadApps();
    });
  return html`<${Loaded} of=${rights}>
    ${(items) => {
      if (!items.length)
        return html`<p class="dim">You see the roles of others where you are an admin.</p>`;
      return html`<div class="cards">
        ${items.map(
          ({ app, held, roleNames }) => html`<${AppRoles}
            key=${app.id}
            app=${app}
            held=${held}
            roleNames=${roleNames}
            userId=${account.id}
            assign=${(role) => act(app, 'assign', role)}
            revoke=${(role) => act(app, 'revoke', role)}
          />`,
        )}
      </div>`;
    }}
  <//>`;
}

function AppRoles({ app, held, roleNames, userId, assign, revoke }) {
  const others = roleNames.filter((name) => !held.roles.includes(name));
  const count = held.permissions.length;
  const noun = count === 1 ? 'permission' : 'permissions';
  const makeTakeButton = (role) => html`<button
    class="link"
    aria-label=${`Take the role ${role}`}
    onClick=${() => revoke(role)}
  >
    ${icon('x')}
  </button>`;
  return html`<section class="card">
    <h2 class="cut" title=${app.name}>${app.name}</h2>
    <div class="row">
      ${held.roles.map(
        (role) => html`<span class="tag info" key=${role}>
          ${role}
          ${roleNames.length > 0 && makeTakeButton(role)}
        </span>`,
      )}
      ${!held.roles.length && html`<span class="dim">No role</span>`}
    </div>
    ${
      others.length > 0 &&
      html`<p>
        <${ActingSelect}
          label=${`Give a role on ${app.name}`}
          hint="Give a role…"
          choices=${others}
          act=${assign}
        />
      </p>`
    }
    <details>
      <summary class="dim">${count} effective ${noun}</summary>
      <ul class="plain mono">
        ${held.permissions.map((permission) => html`<li key=${permission}>${permission}</li>`)}
      </ul>
    </details>
    <${A} to=${['explain']} query=${{ user: userId, app: app.id }}>Explain…<//>
  </section>`;
}
