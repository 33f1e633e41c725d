/** The caller's own account: profile, password, second factor, sessions, API keys, rights. */
import { html, useState } from '../../core/kit.js';
import { get, patch, post, remove, signOut, url, user } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { Ago, Head, Listing, copy, saveAs } from '../../core/screen.js';
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

const TOTP = '/api/v1/auth/totp';
/** Letters of a secret that are read at once. */
const GROUP = 4;

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
        <${Profile} />
        <${Password} />
        <${SecondFactor} />
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
      ${(
        sessions,
      ) => html`<${Listing} heads=${['Program and address', 'Last used', '']} look="sessions">
        ${sessions.map(
          (session) => html`<${SessionRow}
            key=${session.id}
            session=${session}
            end=${() => end([session], 'Session ended.')}
          />`,
        )}
      <//>`}
    <//>
  </section>`;
}

const SessionRow = ({ session, end }) => html`<tr>
  <td>
    ${nameProgram(session.user_agent)}
    <div><code class="dim">${session.address}</code></div>
  </td>
  <td><${Ago} at=${session.last_used_at} /></td>
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

/** A card with a form that is sent; `children` gets what binds its inputs. */
function CardForm({ title, yes, start, send, children }) {
  const [form, bind, setForm] = useForm(start);
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      setForm(await send(form));
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="card stack" onSubmit=${submit}>
    <h2>${title}</h2>
    ${children(bind, form)}
    <${ErrorBox} error=${error} />
    <div><button>${yes}</button></div>
  </form>`;
}

const CurrentPassword = (props) =>
  html`<${Input} type="password" required autocomplete="current-password" ...${props} />`;

/** The name that others see, and the email; that one needs the password. */
function Profile() {
  const email = user.value.email ?? '';
  const start = { display_name: user.value.display_name ?? '', email, password: '' };
  const send = async (form) => {
    const changes = { display_name: form.display_name || null };
    if (form.email !== email)
      Object.assign(changes, { email: form.email || null, password: form.password });
    user.value = await patch('/api/v1/auth/profile', changes);
    toast('Profile saved.');
    return { ...form, password: '' };
  };
  return html`<${CardForm} title="Profile" yes="Save" start=${start} send=${send}>
    ${(bind, form) => html`<${Input} title="Display name" ...${bind('display_name')} />
      <${Input} title="Email" type="email" ...${bind('email')} />
      ${
        form.email !== email &&
        html`<${CurrentPassword}
          title="Password"
          note="to change the email"
          ...${bind('password')}
        />`
      }`}
  <//>`;
}

function Password() {
  const start = { current: '', new: '' };
  const send = async (form) => {
    await post('/api/v1/auth/password', form);
    toast('Password changed. Your other sessions are ended.');
    return start;
  };
  return html`<${CardForm} title="Password" yes="Change" start=${start} send=${send}>
    ${(bind) => html`<input
        type="text"
        hidden
        autocomplete="username"
        value=${user.value.username}
      />
      <${CurrentPassword} title="Current password" ...${bind('current')} />
      <${NewPassword} title="New password" required minlength="10" ...${bind('new')} />`}
  <//>`;
}

/** The second factor: set it up, renew its recovery codes, remove it. */
function SecondFactor() {
  const state = useLoad(() => get(TOTP), []);
  const show = async (Content, label) => {
    const isDone = await openDialog((dialog) => html`<${Content} ...${dialog} />`, { label });
    if (isDone) state.reload();
  };
  return html`<section class="card stack">
    <h2>Second factor</h2>
    <${Loaded} of=${state}>
      ${({ enabled, recoveryCodes }) =>
        enabled
          ? html`<p>
                <span class="tag good">on</span> ${recoveryCodes} recovery codes are left.
              </p>
              <div class="row">
                <button onClick=${() => show(Renew, 'New recovery codes')}>New codes</button>
                <button class="quiet" onClick=${() => show(Remove, 'Remove the second factor')}>
                  Remove
                </button>
              </div>`
          : html`<p class="dim">A code of your phone, beside the password.</p>
              <div><button onClick=${() => show(SetUp, 'Second factor')}>Set up</button></div>`}
    <//>
  </section>`;
}

/** The secret, then a first code, then the recovery codes. */
function SetUp({ close }) {
  const secret = useLoad(() => post(TOTP), []);
  const [codes, setCodes] = useState(null);
  if (codes) return html`<${Codes} codes=${codes} close=${close} />`;
  const confirm = async ({ code }) => {
    const reply = await post(`${TOTP}/confirm`, { code });
    setCodes(reply.recoveryCodes);
  };
  return html`<${Loaded} of=${secret}>
    ${({ secret: text, uri, qr }) => html`<${Asking} title="Second factor" yes="Turn on" name="code"
      send=${confirm} close=${close}>
      <p>Scan this with an authenticator app, or type the key there.</p>
      ${qr && html`<${QrCode} rows=${qr} />`}
      <p class="secret"><code>${text.match(new RegExp(`.{1,${GROUP}}`, 'g')).join(' ')}</code></p>
      <p><a href=${uri}>Open in an app on this device</a></p>
    <//>`}
  <//>`;
}

/** The modules of a QR code: dark ones of `rows` are "1". */
function QrCode({ rows }) {
  const marks = rows.flatMap((row, top) =>
    [...row].map((mark, left) => (mark === '1' ? `M${left} ${top}h1v1h-1z` : '')),
  );
  return html`<svg
    class="qr"
    role="img"
    aria-label="QR code of the key"
    viewBox=${`0 0 ${rows.length} ${rows.length}`}
  >
    <path d=${marks.join('')} />
  </svg>`;
}

function Renew({ close }) {
  const [codes, setCodes] = useState(null);
  if (codes) return html`<${Codes} codes=${codes} close=${close} />`;
  const renew = async ({ code }) => {
    const reply = await post(`${TOTP}/recovery-codes`, { code });
    setCodes(reply.recoveryCodes);
  };
  return html`<${Asking} title="New recovery codes" yes="Renew" name="code" send=${renew}
    close=${close}>
    <p>The former ones are worth nothing from then on.</p>
  <//>`;
}

function Remove({ close }) {
  const drop = async (body) => {
    await remove(TOTP, { body });
    toast('Second factor removed.');
    close(true);
  };
  return html`<${Asking} title="Remove the second factor" yes="Remove" name="password"
    send=${drop} close=${close} />`;
}

/** A form that asks for a code or the password. */
function Asking({ title, yes, name, send, close, children = null }) {
  const [form, bind] = useForm({ [name]: '' });
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await send(form);
    } catch (problem) {
      setError(problem);
    }
  };
  const attributes =
    name === 'code'
      ? { title: 'Code', inputmode: 'numeric', autocomplete: 'one-time-code' }
      : { title: 'Password', type: 'password', autocomplete: 'current-password' };
  return html`<form class="stack" onSubmit=${submit} autocomplete="off">
    <h2>${title}</h2>
    ${children}
    <${Input} required autofocus ...${attributes} ...${bind(name)} />
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">${yes}</button>
    </div>
  </form>`;
}

function Codes({ codes, close }) {
  const text = codes.join('\n');
  const save = () => saveAs(new Blob([`${text}\n`]), 'recovery-codes.txt');
  return html`<div class="stack">
    <h2>Recovery codes</h2>
    <p>Each signs you in once without your phone. Keep them: they are not shown again.</p>
    <pre tabindex="0">${text}</pre>
    <div class="actions">
      <button onClick=${save}>Save</button>
      <button onClick=${() => copy(text)}>Copy</button>
      <button class="primary" autofocus onClick=${() => close(true)}>Done</button>
    </div>
  </div>`;
}
