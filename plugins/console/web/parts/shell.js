/** The frame of every screen: navigation, keys, and what is open. */
import { html, signal, useEffect, useErrorBoundary, useState } from '../core/kit.js';
import { ended, signOut, user } from '../core/api.js';
import { A, go, route } from '../core/router.js';
import {
  admin,
  apps,
  features,
  findApp,
  holds,
  isAppAdmin,
  keep,
  loadAll,
  pages,
  readable,
  words,
} from '../core/store.js';
import { ErrorBox, Loading, Menu, icon, setTheme, theme } from '../core/ui.js';

const drawer = signal(false);
const on = (plugin) => features.value.has(plugin);
const some = (plugin, key) =>
  on(plugin) && (apps.value ?? []).some((app) => !key || holds(app, key));
const admins = () => admin.value || isAppAdmin.value;

/** First segment of the address -> the module of the screen. */
const SCREENS = {
  start: () => import('../screens/start.js'),
  home: () => import('../screens/home.js'),
  data: () => import('../screens/data/list.js'),
  import: () => import('../screens/import/import.js'),
  record: () => import('../screens/record/record.js'),
  apps: () => import('../screens/apps/apps.js'),
  users: () => import('../screens/access/users.js'),
  roles: () => import('../screens/access/roles.js'),
  explain: () => import('../screens/access/explain.js'),
  account: () => import('../screens/access/account.js'),
  jobs: () => import('../screens/system/jobs.js'),
  workers: () => import('../screens/system/workers.js'),
  logs: () => import('../screens/system/logs.js'),
  audit: () => import('../screens/system/audit.js'),
  secrets: () => import('../screens/system/secrets.js'),
  plugins: () => import('../screens/system/plugins.js'),
  health: () => import('../screens/system/health.js'),
  pages: () => import('../screens/system/page.js'),
};

/**
 * Screens beside the tables: address, title, icon, whether they are shown, and their key.
 * @type {[string, string, string, () => boolean, string][]}
 */
export const PLACES = [
  ['apps', 'Apps', 'app', () => on('apps') && admins(), 'a'],
  ['users', 'Users', 'users', () => true, 'u'],
  ['roles', 'Roles', 'shield', () => admin.value || (apps.value ?? []).length > 0, 'r'],
  ['jobs', 'Jobs', 'jobs', () => some('jobs'), 'j'],
  ['workers', 'Workers', 'worker', () => some('workers'), 'w'],
  ['logs', 'Logs', 'log', () => some('logs', 'core:logs.read'), 'l'],
  ['audit', 'Audit', 'audit', () => on('audit') && admins(), 't'],
  ['secrets', 'Secrets', 'secret', () => on('vault') && admins(), 's'],
  ['plugins', 'Plugins', 'plug', () => admin.value, 'p'],
  ['health', 'Health', 'health', () => true, 'h'],
];
export const places = () => PLACES.filter(([, , , shown]) => shown());

export function Shell() {
  const [state, set] = useState({ loading: true });
  const load = () =>
    loadAll().then(
      () => set({}),
      (error) => set({ error }),
    );
  useEffect(() => {
    load();
    listen();
    setTimeout(() => import('./palette.js'), 1500);
  }, []);
  if (state.error)
    return html`<div class="center"><${ErrorBox} error=${state.error} retry=${load} /></div>`;
  if (state.loading) return html`<div class="center"><${Loading} /></div>`;
  return html`<div class="shell ${drawer.value ? 'open' : ''}">
    <a
      class="skip"
      href="#main"
      onClick=${(e) => {
        e.preventDefault();
        document.getElementById('main').focus();
      }}
    >
      Skip to the content
    </a>
    <${Side} />
    <div class="veil" onClick=${() => {
      drawer.value = false;
    }} />
    <div class="body">
      <${Top} />
      <main id="main" tabindex="-1"><${Screen} key=${screenKey()} /></main>
    </div>
    ${ended.value && html`<${Again} />`}
  </div>`;
}

const screenKey = () => route.value.parts.slice(0, 3).join('/');

function Top() {
  return html`<div class="top">
    <button
      class="quiet icon"
      aria-label="Menu"
      aria-expanded=${drawer.value}
      onClick=${() => {
        drawer.value = !drawer.value;
      }}
    >
      ${icon('menu')}
    </button>
    <b>${document.documentElement.dataset.name}</b>
    <button class="quiet icon" aria-label="Search" onClick=${openPalette}>${icon('search')}</button>
  </div>`;
}

function Side() {
  const [first, app, entity] = route.value.parts;
  useEffect(() => {
    drawer.value = false;
  }, [first, app, entity]);
  const shown = pages.value.filter((p) => p.slot === 'page');
  const here = (on) => (on ? 'page' : undefined);
  return html`<nav class="side" aria-label="Main">
    <${A} to=${[]} class="brand"><span class="mark" />${document.documentElement.dataset.name}<//>
    <button class="find" onClick=${openPalette}>
      ${icon('search')}
      <span>Search</span>
      <kbd>Ctrl K</kbd>
    </button>
    <div class="scroll">
      ${apps.value.map(
        (each) => html`<${AppLinks}
          key=${each.id}
          app=${each}
          open=${['data', 'record', 'import'].includes(first) && app === each.id}
          entity=${entity}
        />`,
      )}
      ${
        shown.length > 0 &&
        html`<h2>Pages</h2>
          ${shown.map(
            (p) => html`<${A}
              key=${p.plugin + p.id}
              to=${['pages', p.plugin, p.id]}
              aria-current=${here(first === 'pages' && app === p.plugin && entity === p.id)}
            >
              ${icon(p.icon)}
              ${p.title}
            <//>`,
          )}`
      }
      <h2>Server</h2>
      ${places().map(
        ([to, title, glyph]) => html`<${A}
          key=${to}
          to=${[to]}
          aria-current=${here(first === to)}
        >
          ${icon(glyph)}
          ${title}
        <//>`,
      )}
    </div>
    <${UserMenu} />
  </nav>`;
}

function AppLinks({ app, open, entity }) {
  const shown = readable(app);
  const [unfolded, set] = useState(true);
  return html`<h2>
      <button class="fold" aria-expanded=${unfolded} onClick=${() => set(!unfolded)}>
        ${icon(unfolded ? 'down' : 'right')}
        ${app.name}
      </button>
    </h2>
    ${
      unfolded &&
      shown.map(
        (name) => html`<${A}
          key=${name}
          to=${['data', app.id, name]}
          aria-current=${open && entity === name ? 'page' : undefined}
        >
          ${icon('table')}
          ${words(name)}
        <//>`,
      )
    }`;
}

function UserMenu() {
  const choose = (name) => {
    setTheme(name);
    keep('theme', name);
  };
  const label = user.value.display_name || user.value.username;
  return html`<div class="me">
    <${Menu}
      className="quiet who"
      title="Account"
      align="above"
      label=${html`<span class="avatar">${label.slice(0, 1).toUpperCase()}</span>
        <span class="cut">${label}</span>`}
    >
      ${(close) => html`<div class="choice" role="group" aria-label="Theme">
          ${[
            ['light', 'sun'],
            ['dark', 'moon'],
            ['system', 'screen'],
          ].map(
            ([name, glyph]) =>
              html`<button
                key=${name}
                class=${theme.value === name ? 'on' : ''}
                aria-pressed=${theme.value === name}
                title=${words(name)}
                onClick=${() => choose(name)}
              >
                ${icon(glyph)}
              </button>`,
          )}
        </div>
        <${A} to=${['account']} onClick=${close}>${icon('users')}Your account<//>
        <button onClick=${() => {
          close();
          openKeys();
        }}>${icon('code')}Keyboard</button>
        <button onClick=${signOut}>${icon('out')}Sign out</button>`}
    <//>
  </div>`;
}

function Screen() {
  const [first = 'home', ...rest] = route.value.parts;
  const [module, set] = useState(null);
  const [error, reset] = useErrorBoundary((e) => console.error(e));
  useEffect(() => {
    const load = SCREENS[first];
    if (!load) {
      set({ missing: true });
      return;
    }
    load().then(
      (m) => set({ Component: m.default }),
      (e) => set({ error: e }),
    );
  }, [first]);
  const problem = error ?? module?.error;
  if (problem)
    return html`<${ErrorBox}
      error=${problem}
      retry=${() => {
        reset();
        set(null);
        location.reload();
      }}
    />`;
  if (!module) return html`<${Loading} />`;
  if (module.missing)
    return html`<div class="empty">
      <h2>There is no such page</h2>
      <${A} to=${[]}>Go to the start<//>
    </div>`;
  return html`<${module.Component} parts=${rest} query=${route.value.query} />`;
}

/** The session ended while a page was open: sign in over it, so that nothing typed is lost. */
function Again() {
  const [Form, set] = useState(null);
  useEffect(() => {
    import('../screens/signin.js').then((m) => set(() => m.Password));
  }, []);
  return html`<div class="cover">
    <div class="card sign" role="dialog" aria-modal="true" aria-label="Sign in again">
      <h2>Sign in again</h2>
      <p class="dim">The session has ended. What you typed is still there.</p>
      ${Form && html`<${Form} fixed=${user.value.username} done=${() => null} />`}
      <button class="quiet" onClick=${signOut}>Use another account</button>
    </div>
  </div>`;
}

// --- keys

const openPalette = () => import('./palette.js').then((m) => m.openPalette());
const openKeys = () => import('./palette.js').then((m) => m.openKeys());
/** When `g` was pressed: the key that follows within 1.2 seconds names a place. */
let goPressed = -Infinity;

function listen() {
  addEventListener('keydown', (/** @type {any} */ e) => {
    if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k') {
      e.preventDefault();
      openPalette();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
    if (e.target.closest('input, textarea, select, [contenteditable]')) return;
    if (e.timeStamp - goPressed < 1200) {
      goPressed = -Infinity;
      const place =
        e.key === 'd'
          ? firstTable()
          : places()
              .find((p) => p[4] === e.key)
              ?.slice(0, 1);
      if (place) {
        e.preventDefault();
        go(place);
      }
    } else if (e.key === 'g') {
      goPressed = e.timeStamp;
    } else if (e.key === '?') openKeys();
    else if (e.key === '/') {
      /** @type {HTMLElement} */
      const box = document.querySelector('[data-filter]');
      if (box) {
        e.preventDefault();
        box.focus();
      }
    }
  });
}

export function firstTable() {
  const [, appId] = route.value.parts;
  const app = findApp(appId) ?? apps.value.find((a) => readable(a).length);
  return app ? ['data', app.id, readable(app)[0]] : ['home'];
}
