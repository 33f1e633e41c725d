/** Roles of an app: what each may do with each table, and who holds it. */
import { html, useState } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { A, setQuery } from '../../core/router.js';
import { Head } from '../../core/screen.js';
import { admin, describe, findApp, loadUsers, nameAccounts } from '../../core/store.js';
import {
  ErrorBox,
  IconButton,
  Input,
  Loaded,
  attempt,
  icon,
  toast,
  useLoad,
} from '../../core/ui.js';
import { ActingSelect } from '../../form/control.js';
import { WithApp } from '../../parts/apppick.js';
import { Matrix } from './matrix.js';

export default function Roles({ parts: [appId], query }) {
  const extra = admin.value ? [['core', 'This server']] : [];
  return html`<${WithApp} screen="roles" appId=${appId} extra=${extra}>
    ${(id, picker) =>
      html`<${Screen} key=${id} appId=${id} picker=${picker} chosen=${query.role} />`}
  <//>`;
}

/** Roles, the keys that there are, the app, and who holds which role (for those who may give it). */
async function loadRoles(appId, editable) {
  const path = url`/api/v1/apps/${appId}`;
  const [roles, keys, app, assignments, accounts] = await Promise.all([
    get(`${path}/roles`),
    get(`${path}/permissions/available`),
    appId === 'core' ? { entities: [] } : describe(appId),
    editable ? get(`${path}/roles/assignments`) : [],
    loadUsers(),
  ]);
  return { roles, keys, app, assignments, names: nameAccounts(accounts) };
}

function Screen({ appId, picker, chosen }) {
  const editable = appId === 'core' ? admin.value : findApp(appId)?.admin;
  const loaded = useLoad(() => loadRoles(appId, editable), [appId]);
  const add = async () => {
    const content = ({ close }) => html`<${NewRole} appId=${appId} close=${close} />`;
    const name = await openDialog(content, { label: 'New role' });
    if (!name) return;
    setQuery({ role: name });
    loaded.reload();
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
    <${Loaded} of=${loaded}>
      ${({ roles, keys, app, assignments, names }) => {
        const shownRole = roles.find((role) => role.name === chosen) ?? roles[0];
        const findHolders = (role) => assignments.filter((item) => item.role === role.name);
        return html`<nav class="tabs" aria-label="Roles">
            ${roles.map(
              (role) => html`<${A}
                key=${role.name}
                to=${['roles', appId]}
                query=${{ role: role.name }}
                aria-current=${role === shownRole ? 'page' : undefined}
              >
                ${role.name} <small> ${findHolders(role).length || ''}</small>
              <//>`,
            )}
          </nav>
          ${
            shownRole &&
            html`<div class="split">
              <${Matrix}
                key=${shownRole.name}
                appId=${appId}
                role=${shownRole}
                roles=${roles}
                keys=${keys}
                entities=${app.entities}
                editable=${editable && shownRole.name !== 'admin'}
                reload=${loaded.reload}
              />
              <aside>
                ${
                  editable &&
                  html`<${Holders}
                    appId=${appId}
                    role=${shownRole}
                    ids=${findHolders(shownRole).map((holder) => holder.userId)}
                    names=${names}
                    reload=${loaded.reload}
                  />`
                }
              </aside>
            </div>`
          }`;
      }}
    <//>`;
}

function NewRole({ appId, close }) {
  const [name, setName] = useState('');
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await post(url`/api/v1/apps/${appId}/roles`, { name });
      close(name);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>New role</h2>
    <${Input}
      title="Name"
      autofocus
      required
      value=${name}
      onInput=${(event) => setName(event.target.value)}
    />
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Create</button>
    </div>
  </form>`;
}

/** Who holds a role, to give and take it. */
function Holders({ appId, role, ids, names, reload }) {
  const act = (verb, userId) =>
    attempt(async () => {
      const path = url`/api/v1/apps/${appId}/roles/${verb}`;
      const reply = await post(path, { userId, role: role.name });
      toast(reply.message);
      reload();
    });
  const others = Object.entries(names).filter(([id]) => !ids.includes(id));
  return html`<section class="card">
    <h2>Held by</h2>
    <ul class="plain">
      ${ids.map(
        (id) => html`<li class="row" key=${id}>
          <${A} class="grow cut" to=${['users', id]}>${names[id] ?? id}<//>
          <${IconButton}
            isSmall
            glyph="x"
            label=${`Take it from ${names[id]}`}
            onClick=${() => act('revoke', id)}
          />
        </li>`,
      )}
    </ul>
    ${!ids.length && html`<p class="dim">No one yet.</p>`}
    <p>
      <${ActingSelect}
        label="Give this role to"
        hint="Give it to…"
        choices=${others}
        act=${(id) => act('assign', id)}
      />
    </p>
  </section>`;
}
