/** The frame of every screen: navigation, what is open, and signing in again. */
import { html, signal, useEffect, useErrorBoundary, useState } from '../core/kit.js';
import { away, ended, signOut, user } from '../core/api.js';
import { Dialogs } from '../core/dialogs.js';
import { A, route } from '../core/router.js';
import { Menu } from '../core/screen.js';
import {
  apps,
  listReadable,
  loadAll,
  nameAccount,
  pages,
  saveSetting,
  toWords,
} from '../core/store.js';
import { Empty, ErrorBox, IconButton, Loading, icon, setTheme, theme } from '../core/ui.js';
import { openBuilder } from '../screens/builder/open.js';
import { SCREENS, listPlaces, listen, openKeys, openPalette } from './places.js';

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
    <${IconButton}
      glyph="menu"
      label="Menu"
      aria-expanded=${drawer.value}
      onClick=${toggleDrawer}
    />
    <b class="cut">${document.documentElement.dataset.name}</b>
    <${IconButton} glyph="search" label="Search" onClick=${openPalette} />
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

// --- the navigation at the left: tables of the apps, pages of plugins, screens of the server

/** True while the navigation covers a narrow screen. */
export const drawer = signal(false);

const OF_TABLES = ['data', 'record', 'import'];
const THEMES = [
  ['light', 'sun'],
  ['dark', 'moon'],
  ['system', 'screen'],
];
const markCurrent = (isCurrent) => (isCurrent ? 'page' : undefined);

export function Side() {
  const [screen, appId, entity] = route.value.parts;
  useEffect(() => {
    drawer.value = false;
  }, [screen, appId, entity]);
  const openApp = OF_TABLES.includes(screen) ? appId : null;
  return html`<nav class="side" aria-label="Main">
    <${A} to=${[]} class="brand">
      <span class="mark" />
      <span class="cut">${document.documentElement.dataset.name}</span>
    <//>
    <button class="find" onClick=${openPalette}>
      ${icon('search')}
      <span>Search</span>
      <kbd>Ctrl K</kbd>
    </button>
    <div class="scroll">
      ${apps.value.map(
        (app) => html`<${AppLinks}
          key=${app.id}
          app=${app}
          open=${app.id === openApp}
          entity=${entity}
        />`,
      )}
      <${PluginLinks} />
      <${ServerLinks} />
    </div>
    <${UserMenu} />
  </nav>`;
}

function AppLinks({ app, open, entity }) {
  const [isUnfolded, setUnfolded] = useState(true);
  const tables = isUnfolded ? listReadable(app) : [];
  return html`<h2>
      <button
        class="fold"
        title=${app.name}
        aria-expanded=${isUnfolded}
        onClick=${() => setUnfolded(!isUnfolded)}
      >
        ${icon(isUnfolded ? 'down' : 'right')}
        <span class="cut">${app.name}</span>
      </button>
    </h2>
    ${tables.map(
      (name) => html`<${A}
        key=${name}
        to=${['data', app.id, name]}
        aria-current=${markCurrent(open && entity === name)}
      >
        ${icon('table')}
        <span class="cut">${toWords(name)}</span>
      <//>`,
    )}
    ${
      isUnfolded &&
      app.admin &&
      html`<button class="addtable" onClick=${() => openBuilder('addTable', app.id)}>
        ${icon('plus')}New table
      </button>`
    }`;
}

function PluginLinks() {
  const [screen, plugin, id] = route.value.parts;
  const listed = pages.value.filter((page) => page.slot === 'page');
  if (!listed.length) return null;
  const isShown = (page) => screen === 'pages' && plugin === page.plugin && id === page.id;
  return html`<h2>Pages</h2>
    ${listed.map(
      (page) => html`<${A}
        key=${page.plugin + page.id}
        to=${['pages', page.plugin, page.id]}
        aria-current=${markCurrent(isShown(page))}
      >
        ${icon(page.icon)}
        <span class="cut">${page.title}</span>
      <//>`,
    )}`;
}

function ServerLinks() {
  const [screen] = route.value.parts;
  return html`<h2>Server</h2>
    ${listPlaces().map(
      ({ name, title, glyph }) => html`<${A}
        key=${name}
        to=${[name]}
        aria-current=${markCurrent(screen === name)}
      >
        ${icon(glyph)}
        ${title}
      <//>`,
    )}`;
}

function UserMenu() {
  const name = nameAccount(user.value);
  const label = html`<span class="avatar">${name.slice(0, 1).toUpperCase()}</span>
    <span class="cut">${name}</span>`;
  return html`<div class="me">
    <${Menu} className="quiet who" title="Account" align="above" label=${label}>
      ${(close) => html`<${UserChoices} close=${close} />`}
    <//>
  </div>`;
}

function UserChoices({ close }) {
  const showKeys = () => {
    close();
    openKeys();
  };
  return html`<${ThemeChoice} />
    <${A} to=${['account']} onClick=${close}>${icon('users')}Your account<//>
    <button onClick=${showKeys}>${icon('code')}Keyboard</button>
    <button onClick=${signOut}>${icon('out')}Sign out</button>`;
}

function ThemeChoice() {
  const choose = (name) => {
    setTheme(name);
    saveSetting('theme', name);
  };
  return html`<div class="choice" role="group" aria-label="Theme">
    ${THEMES.map(([name, glyph]) => {
      const isChosen = theme.value === name;
      return html`<button
        key=${name}
        class=${isChosen ? 'on' : ''}
        aria-pressed=${isChosen}
        title=${toWords(name)}
        onClick=${() => choose(name)}
      >
        ${icon(glyph)}
      </button>`;
    })}
  </div>`;
}
