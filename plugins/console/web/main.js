/** The start: continue a session, or show the form to sign in. */
import { effect, html, render, signal, useEffect } from './core/kit.js';
import { away, resume } from './core/api.js';
import { ErrorBox, Loading, Toasts, fail, setTheme, theme } from './core/ui.js';

const page = document.documentElement.dataset;
setTheme(theme.value);
if (page.colour) document.documentElement.style.setProperty('--instance', page.colour);

/** The address that the server prints at its first start carries the setup token. */
const hashQuery = new URLSearchParams(location.hash.slice(1));
const setup = hashQuery.get('setup') ?? '';
/** An invite is for a person without an account here, also where another user is signed in. */
const invite = hashQuery.get('invite') ?? '';
const screen = signal(null);
const problem = signal(null);
/** Whether the server has other files by now: modules that are loaded later may not fit. */
const outdated = signal(false);
/** Milliseconds between two looks at the build of the server. */
const LOOK_AGAIN = 60_000;
let lookedAt = Date.now();

async function start() {
  problem.value = null;
  try {
    const isSignedIn = !invite && (await resume());
    if (isSignedIn) {
      await showShell();
    } else {
      await showSignIn();
    }
  } catch (error) {
    problem.value = error;
  }
}

/** Ask the server whether it was upgraded while this page was open. */
async function compareBuilds() {
  lookedAt = Date.now();
  try {
    const reply = await fetch(location.pathname, { cache: 'no-store' });
    const [, build] = /data-build="(\w+)"/.exec(await reply.text()) ?? [];
    if (build && build !== page.build) outdated.value = true;
  } catch {
    /* it is away once more */
  }
}

/** Look when the server is back, and when the page is seen again. */
function watchBuild() {
  let wasAway = false;
  effect(() => {
    if (wasAway && !away.value) compareBuilds();
    wasAway = away.value;
  });
  document.addEventListener('visibilitychange', () => {
    const isTime = Date.now() - lookedAt > LOOK_AGAIN;
    if (!document.hidden && isTime) compareBuilds();
  });
}

async function showShell() {
  if (location.hash.startsWith('#/app-sign-in?')) {
    const { AppSignIn } = await import('./screens/appsignin.js');
    screen.value = html`<${AppSignIn} />`;
    return;
  }
  const { Shell } = await import('./shell/shell.js');
  screen.value = html`<${Shell} />`;
}

async function showSignIn() {
  const { SignIn } = await import('./screens/signin.js');
  screen.value = html`<${SignIn} setup=${setup} invite=${invite} done=${showShell} />`;
}

function App() {
  useEffect(() => {
    start();
  }, []);
  return html`${page.safe && html`<${SafeMode} />`}
    ${away.value && html`<${Away} />`}
    ${outdated.value && html`<${Outdated} />`}
    <${Content} />
    <${Toasts} />`;
}

const SafeMode = () => html`<div class="bar danger" role="alert">
  Safe mode: only what repairing a broken plugin needs is on.
</div>`;

const Away = () => html`<div class="bar" role="status">
  The server does not answer. Trying again…
</div>`;

const Outdated = () => html`<div class="bar" role="status">
  The server was upgraded. Reload this page when what you type is saved.
  <button onClick=${() => location.reload()}>Reload</button>
</div>`;

function Content() {
  if (problem.value)
    return html`<div class="center"><${ErrorBox} error=${problem.value} retry=${start} /></div>`;
  return screen.value ?? html`<div class="center"><${Loading} /></div>`;
}

watchBuild();
render(html`<${App} />`, document.getElementById('app'));
addEventListener('unhandledrejection', (event) => {
  fail(event.reason ?? new Error('unknown'));
  event.preventDefault();
});
