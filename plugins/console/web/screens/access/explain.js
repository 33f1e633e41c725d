/** Explain: may this user do this, on this record, and why; also under an assumption. */
import { html, useEffect, useState } from '../../core/kit.js';
import { get, post, url, user as me } from '../../core/api.js';
import { setQuery } from '../../core/router.js';
import { admin, apps, users } from '../../core/store.js';
import { ErrorBox, Head, Typed, icon, useLoad, CopyAs } from '../../core/ui.js';

export default function Explain({ query }) {
  const app = query.app ?? apps.value[0]?.id ?? 'core';
  const choice = useLoad(async () => {
    const [people, keys, roles] = await Promise.all([
      users(),
      get(url`/api/v1/apps/${app}/permissions/available`),
      get(url`/api/v1/apps/${app}/roles`),
    ]);
    return { people, keys: keys.map((k) => k.key), roles: roles.map((r) => r.name) };
  }, [app]);
  const [answer, set] = useState({});
  const body = {
    user: query.user ?? me.value.id,
    app,
    action: query.action ?? choice.data?.keys[0] ?? '',
    ...(query.record ? { record: query.record } : {}),
    ...(query.roles || query.keys
      ? {
          assume: {
            roles: query.roles?.split(',') ?? [],
            permissions: query.keys?.split(',') ?? [],
          },
        }
      : {}),
  };
  const key = JSON.stringify(body);
  useEffect(() => {
    if (!body.action || !choice.data) return;
    post('/api/v1/permissions/explain', body).then(
      (found) => set({ found }),
      (error) => set({ error }),
    );
  }, [key, Boolean(choice.data)]);
  const put = (name) => (e) => setQuery({ [name]: e.target.value || null });
  const options = (list, current) =>
    list.map(
      ([value, title]) => html`<option key=${value} value=${value} selected=${value === current}>
        ${title}
      </option>`,
    );
  const { people = [], keys = [], roles = [] } = choice.data ?? {};
  return html`<${Head}
      title="Explain"
      sub="Whether a user may do something, by which role and permission, and what would change it."
    >
      <${CopyAs} request=${{ method: 'POST', path: '/api/v1/permissions/explain', body }} />
    <//>
    <div class="split">
      <div class="stack">
        <div class="row ask">
          <label class="field">
            <span>User</span>
            <select onChange=${put('user')}>
              ${options(
                people.map((u) => [u.id, u.display_name || u.username]),
                body.user,
              )}
            </select>
          </label>
          <label class="field">
            <span>App</span>
            <select
              onChange=${(e) =>
                setQuery({
                  app: e.target.value,
                  action: null,
                  record: null,
                  roles: null,
                  keys: null,
                })}
            >
              ${options(
                [
                  ...apps.value.map((a) => [a.id, a.name]),
                  ...(admin.value ? [['core', 'This server']] : []),
                ],
                app,
              )}
            </select>
          </label>
          <label class="field">
            <span>Action</span>
            <select onChange=${put('action')}>
              ${options(
                keys.map((k) => [k, k]),
                body.action,
              )}
            </select>
          </label>
          <label class="field">
            <span>Record <i>optional</i></span>
            <${Typed}
              placeholder="id"
              value=${query.record}
              change=${(record) => setQuery({ record })}
            />
          </label>
        </div>
        <${ErrorBox} error=${choice.error ?? answer.error} />
        ${answer.found && html`<${Answer} found=${answer.found} />`}
      </div>
      <aside class="card stack">
        <h2>What if …</h2>
        <label class="field">
          <span>The user also held the role</span>
          <select onChange=${put('roles')}>
            ${options([['', '–'], ...roles.map((r) => [r, r])], query.roles ?? '')}
          </select>
        </label>
        <label class="field">
          <span>… or the permission</span>
          <select onChange=${put('keys')}>
            ${options([['', '–'], ...keys.map((k) => [k, k])], query.keys ?? '')}
          </select>
        </label>
        <p class="dim">Nothing is changed.</p>
      </aside>
    </div>`;
}

function Answer({ found }) {
  return html`<section
    class="card answer ${found.allowed ? 'allowed' : 'denied'}"
    aria-live="polite"
  >
    <h2>${icon(found.allowed ? 'check' : 'x')}${found.allowed ? 'Allowed' : 'Not allowed'}</h2>
    <p>${found.reason}.</p>
    ${
      found.by.length > 0 &&
      html`<table class="list">
        <thead><tr><th>Role</th><th>Permission</th><th>By way of</th><th>Plugin</th></tr></thead>
        <tbody>
          ${found.by.map(
            (r, i) => html`<tr key=${i}>
              <td><b>${r.role}</b></td>
              <td><code>${r.permission}</code></td>
              <td>${r.via.join(' → ') || html`<span class="dim">directly</span>`}</td>
              <td class="dim">${r.plugin}</td>
            </tr>`,
          )}
        </tbody>
      </table>`
    }
  </section>`;
}
