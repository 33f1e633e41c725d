/** Signing in; making the first account of a new server, or that of an invite. */
import { focusNow, html, useEffect, useRef, useState } from '../core/kit.js';
import { get, post, signIn } from '../core/api.js';
import { ErrorBox, Input, Loading, NewPassword, useForm } from '../core/ui.js';

const SERVER = document.documentElement.dataset.name;

/** @param {{setup: string, invite: string, done: () => any}} props Both are tokens, or empty. */
export function SignIn({ setup, invite, done }) {
  const [mode, setMode] = useState(null);
  useEffect(() => {
    get('/api/v1/auth/mode').then(setMode, () => setMode({}));
    document.title = `Sign in · ${SERVER}`;
  }, []);
  if (!mode) return html`<div class="center"><${Loading} /></div>`;
  const isNew = mode.setupRequired || setup || invite;
  return html`<main class="center">
    <div class="card sign">
      <div class="brand"><span class="mark" />${SERVER}</div>
      ${
        isNew
          ? html`<${NewAccount} setup=${setup} invite=${invite} done=${done} />`
          : html`<${Password} done=${done} />`
      }
    </div>
  </main>`;
}

/** Load what is shown after signing in, from the first letter that is typed. */
const prefetch = () => void Promise.all([import('../shell/shell.js'), import('./data/list.js')]);

/** Name and password, and the code of a second factor where the server asks for it. */
export function Password({ done, fixed = '' }) {
  const [form, bind] = useForm({ username: fixed, password: '', code: '' });
  const [state, setState] = useState({});
  const code = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true, second: state.second });
    try {
      await signIn(form.username, form.password, form.code);
      await done();
    } catch (error) {
      const isCodeAsked = error.body?.secondFactor;
      const second = isCodeAsked || state.second;
      setState({ error: isCodeAsked ? null : error, second });
      if (second) setTimeout(() => code.current?.focus());
    }
  };
  return html`<${Entry} title="Sign in" submit=${submit} state=${state}>
    <${Input}
      title="Username or email"
      autocomplete="username"
      required
      box=${fixed ? null : focusNow}
      readonly=${!!fixed}
      ...${bind('username')}
    />
    <${Input}
      title="Password"
      type="password"
      autocomplete="current-password"
      required
      box=${fixed ? focusNow : null}
      ...${bind('password')}
    />
    ${
      state.second &&
      html`<${Input}
        title="Code of the second factor"
        box=${code}
        inputmode="numeric"
        autocomplete="one-time-code"
        ...${bind('code')}
      />`
    }
  <//>`;
}

/** A form with its error and its one button. */
const Entry = ({ title, submit, state, children }) => html`<form
  class="stack"
  onSubmit=${submit}
  onInput=${prefetch}
>
  ${children}
  <${ErrorBox} error=${state.error} />
  <button class="primary wide" disabled=${state.busy}>${title}</button>
</form>`;

function NewAccount({ setup, invite, done }) {
  const [form, bind] = useForm({ username: '', password: '', email: '' });
  const [state, setState] = useState({});
  const [shown, setShown] = useState(null);
  useEffect(() => {
    if (invite)
      post('/api/v1/auth/invites/show', { token: invite }).then(setShown, (error) =>
        setState({ error, isOver: true }),
      );
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const body = { username: form.username, password: form.password };
      if (form.email) body.email = form.email;
      if (invite) body.token = invite;
      else if (setup) body.setupToken = setup;
      await post(`/api/v1/auth/${invite ? 'invites/accept' : 'register'}`, body);
      await signIn(form.username, form.password);
      history.replaceState(null, '', invite ? '#/' : '#/start');
      dispatchEvent(new Event('hashchange')); // the router may be loaded, and has read the address
      await done();
    } catch (error) {
      setState({ error });
    }
  };
  const isOver = invite && state.isOver;
  if (isOver)
    return html`<${ErrorBox} error=${state.error} />
      <p><button class="wide" onClick=${forgetInvite}>Sign in</button></p>`;
  return html`<${Entry} title="Create account" submit=${submit} state=${state}>
    <div>
      <h1>Welcome</h1>
      <p class="dim">
        ${invite ? describeInvite(shown) : 'The first account is the administrator of this server.'}
      </p>
    </div>
    <${Input}
      title="Username"
      autocomplete="username"
      required
      box=${focusNow}
      ...${bind('username')}
    />
    ${
      !shown?.email &&
      html`<${Input}
        title="Email"
        note="optional"
        type="email"
        autocomplete="email"
        ...${bind('email')}
      />`
    }
    <${NewPassword} required minlength="10" ...${bind('password')}>
      <small>
        At least 10 characters with an upper-case letter, a lower-case letter and a digit.
      </small>
    <//>
  <//>`;
}

/** "Ada invites you as editor of crm." */
function describeInvite(invite) {
  if (!invite) return '';
  const role = invite.role ? ` as ${invite.role} of ${invite.app}` : '';
  const email = invite.email ? ` Your email is ${invite.email}.` : '';
  return `${invite.by} invites you${role}.${email}`;
}

/** Begin again without the token. */
function forgetInvite() {
  history.replaceState(null, '', '#/');
  location.reload();
}
