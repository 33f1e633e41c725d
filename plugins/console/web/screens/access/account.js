/** The caller's own account: password, sessions, API keys, rights. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, signOut, url, user } from '../../core/api.js';
import { Ago, Head } from '../../core/screen.js';
import { apps, nameAccount } from '../../core/store.js';
import {
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
import { Keys } from './keys.js';

export default function Account() {
  const { username, email } = user.value;
  return html`<${Head}
      title=${nameAccount(user.value)}
      sub=${email ? `${username} · ${email}` : username}
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
              (app) => html`<dt key=${app.id} class="cut" title=${app.name}>${app.name}</dt>
                <dd>${app.roles.join(', ')}</dd>`,
            )}
          </dl>
        </section>
      </aside>
    </div>`;
}

function Sessions() {
  const list = useLoad(() => get('/api/v1/auth/sessions'), []);
  const end = (sessions, message) =>
    attempt(async () => {
      for (const session of sessions) await remove(url`/api/v1/auth/sessions/${session.id}`);
      toast(message);
      list.reload();
    });
  const others = (list.data ?? []).filter((session) => !session.current);
  const endOthers = () => end(others, 'The other sessions are ended.');
  return html`<section>
    <div class="head">
      <h2>Sessions</h2>
      ${others.length > 0 && html`<button onClick=${endOthers}>End all others</button>`}
    </div>
    <${Loaded} of=${list}>
      ${(sessions) => html`<div class="scrollx">
        <table class="list">
          <thead>
            <tr><th>Program</th><th>Address</th><th>Last used</th><th /></tr>
          </thead>
          <tbody>
            ${sessions.map(
              (session) => html`<${SessionRow}
                key=${session.id}
                session=${session}
                end=${() => end([session], 'Session ended.')}
              />`,
            )}
          </tbody>
        </table>
      </div>`}
    <//>
  </section>`;
}

const SessionRow = ({ session, end }) => html`<tr>
  <td>${nameProgram(session.user_agent)}</td>
  <td><code>${session.address}</code></td>
  <td class="nowrap"><${Ago} at=${session.last_used_at} /></td>
  <td class="right">
    ${
      session.current
        ? html`<span class="tag info">this one</span>`
        : html`<button class="small" onClick=${end}>End</button>`
    }
  </td>
</tr>`;

/** "Firefox 140", or the start of what the program calls itself. */
function nameProgram(text) {
  const match = /(Edg|Firefox|Chrome|Safari)\/\d+/.exec(text);
  if (match) return match[0].replace('/', ' ');
  return text.slice(0, 60) || 'unknown';
}

function Password() {
  const [form, bind, setForm] = useForm({ current: '', new: '' });
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await post('/api/v1/auth/password', form);
      setForm({ current: '', new: '' });
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
