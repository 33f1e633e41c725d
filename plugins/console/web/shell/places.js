/** The screens: which module shows an address, which ones the navigation offers, and their keys. */
import { html } from '../core/kit.js';
import { openDialog } from '../core/dialogs.js';
import { go, route } from '../core/router.js';
import { admin, apps, features, findApp, holds, isAppAdmin, listReadable } from '../core/store.js';

/** First segment of the address -> the module of the screen. */
export const SCREENS = {
  start: () => import('../screens/start.js'),
  home: () => import('../screens/home.js'),
  data: () => import('../screens/data/list.js'),
  import: () => import('../screens/import/import.js'),
  record: () => import('../screens/record/record.js'),
  dashboards: () => import('../screens/dashboards/dashboards.js'),
  apps: () => import('../screens/apps/apps.js'),
  users: () => import('../screens/access/users.js'),
  roles: () => import('../screens/access/roles.js'),
  explain: () => import('../screens/access/explain.js'),
  account: () => import('../screens/access/account.js'),
  jobs: () => import('../screens/jobs/jobs.js'),
  workers: () => import('../screens/workers/workers.js'),
  logs: () => import('../screens/system/logs.js'),
  audit: () => import('../screens/system/audit.js'),
  requests: () => import('../screens/system/request.js'),
  secrets: () => import('../screens/system/secrets.js'),
  plugins: () => import('../screens/system/plugins.js'),
  health: () => import('../screens/system/health.js'),
  pages: () => import('../screens/system/page.js'),
};

const isOn = (plugin) => features.value.has(plugin);
const hasApp = () => (apps.value ?? []).length > 0;
const isAnyAdmin = () => admin.value || isAppAdmin.value;
const holdsAnywhere = (key) => (apps.value ?? []).some((app) => holds(app, key));

/**
 * Screens beside the tables; `key` follows `g` on the keyboard.
 * @type {{name: string, title: string, glyph: string, key: string, isShown: () => boolean}[]}
 */
const PLACES = [
  definePlace('dashboards', 'Dashboards', 'chart', 'b', hasApp),
  definePlace('apps', 'Apps', 'app', 'a', () => isOn('apps') && isAnyAdmin()),
  definePlace('users', 'Users', 'users', 'u', () => true),
  definePlace('roles', 'Roles', 'shield', 'r', () => admin.value || hasApp()),
  definePlace('jobs', 'Jobs', 'jobs', 'j', () => isOn('jobs') && hasApp()),
  definePlace('workers', 'Workers', 'worker', 'w', () => isOn('workers') && hasApp()),
  definePlace('logs', 'Logs', 'log', 'l', () => isOn('logs') && holdsAnywhere('core:logs.read')),
  definePlace('audit', 'Audit', 'audit', 't', () => isOn('audit') && isAnyAdmin()),
  definePlace('secrets', 'Secrets', 'secret', 's', () => isOn('vault') && isAnyAdmin()),
  definePlace('plugins', 'Plugins', 'plug', 'p', () => admin.value),
  definePlace('health', 'Health', 'health', 'h', () => true),
];

function definePlace(name, title, glyph, key, isShown) {
  return { name, title, glyph, key, isShown };
}

/** The screens that the user sees in the navigation. */
export const listPlaces = () => PLACES.filter(({ isShown }) => isShown());

/** The address that a key leads to after `g`; undefined for one without a place. */
export function findPlace(key) {
  if (key === 'd') return findFirstTable();
  const target = listPlaces().find((item) => item.key === key);
  return target && [target.name];
}

/** The address of the first table of the app that is shown, or of any. */
export function findFirstTable() {
  const appId = route.value.parts[1];
  const app = findApp(appId) ?? apps.value.find((item) => listReadable(item).length);
  if (!app) return ['home'];
  return ['data', app.id, listReadable(app)[0]];
}

// --- the keyboard of the whole console: the palette, going to places, finding

/** Milliseconds within which a second key names the place after `g`. */
const PAIR = 1200;
/** When `g` was pressed. */
let goPressed = -Infinity;

const KEYS = [
  ['Ctrl K', 'Search everything'],
  ['g d', 'First table of the app'],
  ['g a', 'Apps'],
  ['g j', 'Jobs'],
  ['g l', 'Logs'],
  ['g p', 'Plugins'],
  ['/', 'Filter the table'],
  ['Enter', 'Edit the cell; so does any letter'],
  ['Space', 'Open the record'],
  ['Shift Space', 'Select the row'],
  ['Ctrl A', 'Select all rows that are loaded'],
  ['Shift ↑ ↓', 'Select cells'],
  ['Ctrl D', 'Fill the cells with the first ones'],
  ['Del', 'Empty the cells'],
  ['Ctrl Z', 'Take back the last change'],
  ['Alt S', 'Sort by the column'],
  ['Alt ↓', 'Menu of the column'],
  ['Alt C', 'New column'],
  ['Shift ← →', 'Move the card of a board'],
  ['Esc', 'Leave a field or dialog'],
  ['?', 'This list'],
];

/** Its module is loaded when it is used. */
export const openPalette = () => import('./palette.js').then((palette) => palette.openPalette());

/** Show which keys there are. */
export function openKeys() {
  const content = ({ close }) => html`<h2>Keyboard</h2>
    <dl class="keys">
      ${KEYS.map(
        ([keys, meaning]) => html`<dt>${keys.split(/ +/).map((key) => html`<kbd>${key}</kbd>`)}</dt>
          <dd>${meaning}</dd>`,
      )}
    </dl>
    <div class="actions"><button autofocus onClick=${() => close()}>Close</button></div>`;
  openDialog(content, { label: 'Keyboard' });
}

export function listen() {
  addEventListener('keydown', (/** @type {any} */ event) => {
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      openPalette();
      return;
    }
    const isTyping = event.target.closest('input, textarea, select, [contenteditable]');
    const isCovered = document.querySelector('dialog[open]');
    if (isCommand || event.altKey || isTyping || isCovered) return;
    press(event);
  });
}

/** A key that is neither typed into something nor a command of the browser. */
function press(event) {
  if (event.timeStamp - goPressed < PAIR) {
    goPressed = -Infinity;
    const place = findPlace(event.key);
    if (!place) return;
    event.preventDefault();
    go(place);
    return;
  }
  if (event.key === 'g') goPressed = event.timeStamp;
  if (event.key === '?') openKeys();
  if (event.key === '/') focusFilter(event);
}

function focusFilter(event) {
  /** @type {HTMLElement} */
  const box = document.querySelector('[data-filter]');
  if (!box) return;
  event.preventDefault();
  box.focus();
}
