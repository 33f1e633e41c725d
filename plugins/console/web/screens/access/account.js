/** The caller's own account: password, sessions, API keys, rights. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, signOut, url, user } from '../../core/api.js';
import {
  Ago,
  ErrorBox,
  Head,
  Input,
  Loaded,
  NewPassword,
  fail,
  icon,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';
import { apps } from '../../core/store.js';
import { Keys } from './keys.js';

export default function Account() {
  return html`<${Head}
      title=${user.value.display_name || user.value.username}
      sub=${`${user.value.username}${user.value.email ? ` · ${user.value.email}` : ''}`}
      request=${{ method: 'GET', path: '/api/v1/auth/sessions' }}
    >
      <button onClick=${signOut}>${icon('out')}Sign out</button>
    <//>
    <div class="split">
      <div class="stack">
        <${Sessions} />
        <${Keys} />
      </div>
      <aside class="stack">
        <${Password} />
        <section class="card">
          <h2>Your roles</h2>
          <dl class="facts">
            ${apps.value.map(
              (app) => html`<dt key=${app.id}>${app.name}</dt><dd>${app.roles.join(', ')}</dd>`,
            )}
          </dl>
        </section>
      </aside>
    </div>`;
}

function Sessions() {
  const list = useLoad(() => get('/api/v1/auth/sessions'), []);
  const end = async (sessions) => {
    try {
      for (const s of sessions) await remove(url`/api/v1/auth/sessions/${s.id}`);
      toast(sessions.length === 1 ? 'Session ended.' : 'The other sessions are ended.');
      list.reload();
    } catch (error) {
      fail(error);
    }
  };
  return html`<section>
    <div class="head">
      <h2>Sessions</h2>
      ${
        list.data?.length > 1 &&
        html`<button onClick=${() => end(list.data.filter((s) => !s.current))}>
          End all others
        </button>`
      }
    </div>
    <${Loaded} of=${list}>
      ${(all) => html`<div class="scrollx">
        <table class="list">
          <thead><tr><th>Program</th><th>Address</th><th>Last used</th><th /></tr></thead>
          <tbody>
            ${all.map(
              (s) => html`<tr key=${s.id}>
                <td>${agent(s.user_agent)}</td>
                <td><code>${s.address}</code></td>
                <td class="nowrap"><${Ago} at=${s.last_used_at} /></td>
                <td class="right">
                  ${
                    s.current
                      ? html`<span class="tag info">this one</span>`
                      : html`<button class="small" onClick=${() => end([s])}>End</button>`
                  }
                </td>
              </tr>`,
            )}
          </tbody>
        </table>
      </div>`}
    <//>
  </section>`;
}

const agent = (text) =>
  /(Edg|Firefox|Chrome|Safari)\/[\d]+/.exec(text)?.[0].replace('/', ' ') ??
  (text.slice(0, 60) || 'unknown');

function Password() {
  const [form, bind, set] = useForm({ current: '', new: '' });
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      await post('/api/v1/auth/password', form);
      set({ current: '', new: '' });
      setError(null);
      toast('Password changed. Your other sessions are ended.');
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="card stack" onSubmit=${submit}>
    <h2>Password</h2>
    <input type="text" hidden autocomplete="username" value=${user.value.username} />
    <${Input}
      title="Current password"
      type="password"
      required
      autocomplete="current-password"
      ...${bind('current')}
    />
    <${NewPassword} title="New password" required minlength="10" ...${bind('new')} />
    <${ErrorBox} error=${error} />
    <div><button>Change</button></div>
  </form>`;
}
