/** Roles of an app: what each may do with each table, and who holds it. */
import { html, useState } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { A, setQuery } from '../../core/router.js';
import { admin, describe, findApp, users } from '../../core/store.js';
import { ErrorBox, Head, Loaded, fail, icon, openDialog, toast, useLoad } from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';
import { Matrix } from './matrix.js';

export default function Roles({ parts: [appId], query }) {
  const extra = admin.value ? [['core', 'This server']] : [];
  return html`<${WithApp} screen="roles" appId=${appId} extra=${extra}>
    ${(id, picker) =>
      html`<${Screen} key=${id} appId=${id} picker=${picker} chosen=${query.role} />`}
  <//>`;
}

function Screen({ appId, picker, chosen }) {
  const editable = appId === 'core' ? admin.value : findApp(appId)?.admin;
  const all = useLoad(async () => {
    const base = url`/api/v1/apps/${appId}`;
    const [roles, keys, app, held, people] = await Promise.all([
      get(`${base}/roles`),
      get(`${base}/permissions/available`),
      appId === 'core' ? { entities: [] } : describe(appId),
      editable ? get(`${base}/roles/assignments`) : [],
      users(),
    ]);
    return {
      roles,
      keys,
      app,
      held,
      names: Object.fromEntries(people.map((u) => [u.id, u.display_name || u.username])),
    };
  }, [appId]);
  const add = async () => {
    const name = await openDialog(
      ({ close }) => html`<${NewRole} appId=${appId} close=${close} />`,
      { label: 'New role' },
    );
    if (name) {
      setQuery({ role: name });
      all.reload();
    }
  };
  return html`<${Head}
      title="Roles"
      sub="A role holds permissions on one app. Users hold roles."
      request=${{ method: 'GET', path: url`/api/v1/apps/${appId}/roles` }}
    >
      ${picker}
      <${A} class="button" to=${['explain']} query=${{ app: appId }}>Explain<//>
      ${editable && html`<button class="primary" onClick=${add}>${icon('plus')}New role</button>`}
    <//>
    <${Loaded} of=${all}>
      ${({ roles, keys, app, held, names }) => {
        const role = roles.find((r) => r.name === chosen) ?? roles[0];
        return html`<nav class="tabs" aria-label="Roles">
            ${roles.map(
              (r) => html`<${A}
                key=${r.name}
                to=${['roles', appId]}
                query=${{ role: r.name }}
                aria-current=${r === role ? 'page' : undefined}
              >
                ${r.name} <small> ${held.filter((h) => h.role === r.name).length || ''}</small>
              <//>`,
            )}
          </nav>
          ${
            role &&
            html`<div class="split">
              <${Matrix}
                key=${role.name}
                appId=${appId}
                role=${role}
                roles=${roles}
                keys=${keys}
                entities=${app.entities}
                editable=${editable && role.name !== 'admin'}
                reload=${all.reload}
              />
              <aside>
                <${Holders}
                  appId=${appId}
                  role=${role}
                  held=${held.filter((h) => h.role === role.name)}
                  names=${names}
                  editable=${editable}
                  reload=${all.reload}
                />
              </aside>
            </div>`
          }`;
      }}
    <//>`;
}

function NewRole({ appId, close }) {
  const [name, setName] = useState('');
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      await post(url`/api/v1/apps/${appId}/roles`, { name });
      close(name);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>New role</h2>
    <label class="field">
      <span>Name</span>
      <input autofocus required value=${name} onInput=${(e) => setName(e.target.value)} />
    </label>
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Create</button>
    </div>
  </form>`;
}

function Holders({ appId, role, held, names, editable, reload }) {
  const act = async (verb, userId) => {
    try {
      toast(
        (await post(url`/api/v1/apps/${appId}/roles/${verb}`, { userId, role: role.name })).message,
      );
      reload();
    } catch (error) {
      fail(error);
    }
  };
  if (!editable) return null;
  const rest = Object.entries(names).filter(([id]) => !held.some((h) => h.userId === id));
  return html`<section class="card">
    <h2>Held by</h2>
    <ul class="plain">
      ${held.map(
        (h) => html`<li class="row" key=${h.userId}>
          <${A} class="grow cut" to=${['users', h.userId]}>${names[h.userId] ?? h.userId}<//>
          <button
            class="quiet icon small"
            aria-label=${`Take it from ${names[h.userId]}`}
            onClick=${() => act('revoke', h.userId)}
          >
            ${icon('x')}
          </button>
        </li>`,
      )}
    </ul>
    ${!held.length && html`<p class="dim">No one yet.</p>`}
    <p>
      <select
        aria-label="Give this role to"
        onChange=${(e) => {
          if (e.target.value) act('assign', e.target.value);
          e.target.value = '';
        }}
      >
        <option value="">Give it to…</option>
        ${rest.map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}
      </select>
    </p>
  </section>`;
}
