/** The frame of every screen: navigation, what is open, and signing in again. */
import { html, useEffect, useErrorBoundary, useState } from '../core/kit.js';
import { away, ended, signOut, user } from '../core/api.js';
import { Dialogs } from '../core/dialogs.js';
import { A, route } from '../core/router.js';
import { loadAll } from '../core/store.js';
import { Empty, ErrorBox, Loading, icon } from '../core/ui.js';
import { SCREENS, listen, openPalette } from './places.js';
import { Side, drawer } from './side.js';

/** Milliseconds after which the palette is loaded, so that it opens at once. */
const IDLE = 1500;
/** How many segments of the address name what is shown; those behind them are its state. */
const NAMING = 3;

export function Shell() {
  const [state, setState] = useState({ loading: true });
  const load = async () => {
    try {
      await loadAll();
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  useEffect(() => {
    load();
    listen();
    setTimeout(() => import('./palette.js').catch(() => null), IDLE);
  }, []);
  if (state.error)
    return html`<div class="center"><${ErrorBox} error=${state.error} retry=${load} /></div>`;
  if (state.loading) return html`<div class="center"><${Loading} /></div>`;
  return html`<${Frame} />
    <${Dialogs} />`;
}

function Frame() {
  const focusMain = (event) => {
    event.preventDefault();
    document.getElementById('main').focus();
  };
  const closeDrawer = () => {
    drawer.value = false;
  };
  const key = route.value.parts.slice(0, NAMING).join('/');
  return html`<div class="shell ${drawer.value ? 'open' : ''}">
    <a class="skip" href="#main" onClick=${focusMain}>Skip to the content</a>
    <${Side} />
    <div class="veil" onClick=${closeDrawer} />
    <div class="body">
      <${Top} />
      <main id="main" tabindex="-1"><${Screen} key=${key} /></main>
    </div>
    ${ended.value && html`<${SignInAgain} />`}
  </div>`;
}

/** The line above a narrow screen. */
function Top() {
  const toggleDrawer = () => {
    drawer.value = !drawer.value;
  };
  return html`<div class="top">
    <button
      class="quiet icon"
      aria-label="Menu"
      aria-expanded=${drawer.value}
      onClick=${toggleDrawer}
    >
      ${icon('menu')}
    </button>
    <b class="cut">${document.documentElement.dataset.name}</b>
    <button class="quiet icon" aria-label="Search" onClick=${openPalette}>${icon('search')}</button>
  </div>`;
}

/** What the address names. A module that could not be loaded is tried again once the server is back. */
function Screen() {
  const [name = 'home', ...rest] = route.value.parts;
  const [state, setState] = useState({});
  const [crash, resetCrash] = useErrorBoundary((error) => console.error(error));
  const load = async () => {
    setState({});
    try {
      const module = await SCREENS[name]();
      setState({ Component: module.default });
    } catch (error) {
      setState({ error });
    }
  };
  const isKnown = Object.hasOwn(SCREENS, name);
  useEffect(() => {
    if (isKnown) load();
  }, [name]);
  useEffect(() => {
    if (state.error && !away.value) load();
  }, [away.value]);
  const retry = () => {
    resetCrash();
    load();
  };
  const problem = crash ?? state.error;
  if (!isKnown) return html`<${NoPage} />`;
  if (problem) return html`<${ErrorBox} error=${problem} retry=${retry} />`;
  if (!state.Component) return html`<${Loading} />`;
  return html`<${state.Component} parts=${rest} query=${route.value.query} />`;
}

const NoPage = () => html`<${Empty} title="There is no such page">
  <${A} to=${[]}>Go to the start<//>
<//>`;

/** The session ended while a page was open: sign in over it, so that nothing typed is lost. */
function SignInAgain() {
  const [state, setState] = useState({});
  const load = async () => {
    try {
      const { Password } = await import('../screens/signin.js');
      setState({ Password });
    } catch (error) {
      setState({ error });
    }
  };
  useEffect(() => {
    load();
  }, []);
  const { Password, error } = state;
  return html`<div class="cover">
    <div class="card sign" role="dialog" aria-modal="true" aria-label="Sign in again">
      <h2>Sign in again</h2>
      <p class="dim">The session has ended. What you typed is still there.</p>
      <${ErrorBox} error=${error} retry=${load} />
      ${Password && html`<${Password} fixed=${user.value.username} done=${() => null} />`}
      <button class="quiet" onClick=${signOut}>Use another account</button>
    </div>
  </div>`;
}
