/** Signing in; on a new server, making the first account. */
import { focusNow, html, useEffect, useRef, useState } from '../core/kit.js';
import { get, post, signIn } from '../core/api.js';
import { ErrorBox, Loading } from '../core/ui.js';

const name = document.documentElement.dataset.name;

export function SignIn({ setup, done }) {
  const [mode, setMode] = useState(null);
  useEffect(() => {
    get('/api/v1/auth/mode').then(
      (m) => setMode(m),
      () => setMode({}),
    );
  }, []);
  if (!mode) return html`<div class="center"><${Loading} /></div>`;
  const first = mode.setupRequired || setup;
  return html`<main class="center">
    <div class="card sign">
      <div class="brand"><span class="mark" />${name}</div>
      ${
        first
          ? html`<${FirstAccount} setup=${setup} done=${done} />`
          : html`<${Password} done=${done} />`
      }
    </div>
  </main>`;
}

/** Load what is shown after signing in, from the first letter that is typed. */
const prefetch = () => Promise.all([import('../parts/shell.js'), import('./data/list.js')]);

/** Name and password, and the code of a second factor where the server asks for it. */
export function Password({ done, fixed = '' }) {
  const [form, set] = useState({ username: fixed, password: '', code: '' });
  const [state, setState] = useState({});
  const code = useRef(null);
  const field = (key) => (e) => {
    if (!form[key]) prefetch();
    set({ ...form, [key]: e.target.value });
  };
  const submit = async (e) => {
    e.preventDefault();
    setState({ busy: true, second: state.second });
    try {
      await signIn(form.username, form.password, form.code);
      await done();
    } catch (error) {
      const second = error.body?.secondFactor || state.second;
      setState({ error: error.body?.secondFactor ? null : error, second });
      if (second) setTimeout(() => code.current?.focus());
    }
  };
  return html`<form onSubmit=${submit} class="stack">
    <label class="field">
      <span>Username or email</span>
      <input
        name="username"
        autocomplete="username"
        required
        ref=${fixed ? null : focusNow}
        readonly=${!!fixed}
        value=${form.username}
        onInput=${field('username')}
      />
    </label>
    <label class="field">
      <span>Password</span>
      <input
        name="password"
        type="password"
        autocomplete="current-password"
        required
        ref=${fixed ? focusNow : null}
        value=${form.password}
        onInput=${field('password')}
      />
    </label>
    ${
      state.second &&
      html`<label class="field">
        <span>Code of the second factor</span>
        <input
          ref=${code}
          name="code"
          inputmode="numeric"
          autocomplete="one-time-code"
          value=${form.code}
          onInput=${field('code')}
        />
      </label>`
    }
    <${ErrorBox} error=${state.error} />
    <button class="primary wide" disabled=${state.busy}>Sign in</button>
  </form>`;
}

function FirstAccount({ setup, done }) {
  const [form, set] = useState({ username: '', password: '', email: '' });
  const [state, setState] = useState({});
  const field = (key) => (e) => set({ ...form, [key]: e.target.value });
  const submit = async (e) => {
    e.preventDefault();
    setState({ busy: true });
    try {
      const body = { username: form.username, password: form.password };
      if (form.email) body.email = form.email;
      if (setup) body.setupToken = setup;
      await post('/api/v1/auth/register', body);
      await signIn(form.username, form.password);
      history.replaceState(null, '', '#/start');
      await done();
    } catch (error) {
      setState({ error });
    }
  };
  return html`<form onSubmit=${submit} class="stack">
    <div>
      <h1>Welcome</h1>
      <p class="dim">The first account is the administrator of this server.</p>
    </div>
    <label class="field">
      <span>Username</span>
      <input
        name="username"
        autocomplete="username"
        required
        ref=${focusNow}
        value=${form.username}
        onInput=${field('username')}
      />
    </label>
    <label class="field">
      <span>Email <i>optional</i></span>
      <input
        name="email"
        type="email"
        autocomplete="email"
        value=${form.email}
        onInput=${field('email')}
      />
    </label>
    <label class="field">
      <span>Password</span>
      <input
        name="password"
        type="password"
        autocomplete="new-password"
        required
        minlength="10"
        value=${form.password}
        onInput=${field('password')}
      />
      <small>
        At least 10 characters with an upper-case letter, a lower-case letter and a digit.
      </small>
    </label>
    <${ErrorBox} error=${state.error} />
    <button class="primary wide" disabled=${state.busy}>Create account</button>
  </form>`;
}
