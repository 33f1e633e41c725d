/** The palette (Ctrl K): places, tables, users, pages and records, found by a few letters. */
import { html, useEffect, useRef, useState } from '../core/kit.js';
import { get, url } from '../core/api.js';
import { openDialog } from '../core/dialogs.js';
import { route, toHref } from '../core/router.js';
import {
  admin,
  apps,
  features,
  findPages,
  listReadable,
  loadUsers,
  nameAccount,
  pages,
  toWords,
} from '../core/store.js';
import { fail, icon } from '../core/ui.js';
import { openPart } from '../kit/tile.js';
import { findRecords } from '../parts/titles.js';
import { listPlaces } from './places.js';

/** Milliseconds of rest before the server is asked. */
const REST = 150;
const MOST_ITEMS = 12;
const MOST_ROUTES = 6;
const SHORTEST = 2;
let isOpen = false;

export async function openPalette() {
  if (isOpen) return;
  isOpen = true;
  await openDialog(Palette, { label: 'Search' });
  isOpen = false;
}

function matches(item, text) {
  const itemText = `${item.title} ${item.sub ?? ''} ${item.kind}`.toLowerCase();
  const parts = text.toLowerCase().split(/\s+/);
  return parts.every((part) => itemText.includes(part));
}

/** What the server finds for a text, some time after the last letter. */
function useHits(text) {
  const [hits, setHits] = useState([]);
  useEffect(() => {
    setHits([]);
    const asked = text.trim().toLowerCase();
    if (asked.length < SHORTEST) return undefined;
    const abort = new AbortController();
    const ask = async () => {
      const lists = await Promise.all(
        [findTitles, findJobs].map((find) => find(asked, abort.signal).catch(() => [])),
      );
      if (!abort.signal.aborted) setHits(lists.flat());
    };
    const timer = setTimeout(ask, REST);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text]);
  return hits;
}

function Palette({ close }) {
  const [text, setText] = useState('');
  const [items, setItems] = useState([]);
  const [routes, setRoutes] = useState([]);
  const [at, setAt] = useState(0);
  const list = useRef(null);
  const hits = useHits(text);
  useEffect(() => {
    listItems().then(setItems, fail);
    listRoutes().then(setRoutes, () => null);
  }, []);
  useEffect(() => setAt(0), [text]);
  useEffect(() => {
    list.current?.children[at]?.scrollIntoView({ block: 'nearest' });
  }, [at]);
  const narrow = (candidates, limit) =>
    candidates.filter((item) => matches(item, text)).slice(0, limit);
  const shownRoutes = text ? narrow(routes, MOST_ROUTES) : [];
  const shownItems = [...narrow(items, MOST_ITEMS), ...hits, ...shownRoutes];
  const pick = (item) => {
    close();
    if (item?.run) {
      item.run();
    } else if (item) {
      location.hash = item.at;
    }
  };
  const move = (step) => {
    const count = Math.max(1, shownItems.length);
    setAt((count + at + step) % count);
  };
  const press = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined && event.key !== 'Enter') return;
    event.preventDefault();
    if (step) {
      move(step);
    } else {
      pick(shownItems[at]);
    }
  };
  return html`<div class="palette">
    <input
      autofocus
      placeholder="Search tables, records, users, jobs, routes…"
      aria-label="Search"
      role="combobox"
      aria-expanded="true"
      aria-controls="found"
      aria-activedescendant=${`found-${at}`}
      value=${text}
      onInput=${(event) => setText(event.target.value)}
      onKeyDown=${press}
    />
    <ul id="found" role="listbox" aria-label="Results" ref=${list}>
      ${shownItems.map(
        (item, index) => html`<li
          key=${item.kind + item.at + item.title}
          id=${`found-${index}`}
          role="option"
          aria-selected=${index === at}
          onMouseMove=${() => setAt(index)}
          onClick=${() => pick(item)}
        >
          ${icon(item.glyph)}
          <span class="cut">${item.title}</span>
          ${item.sub && html`<span class="dim cut">${item.sub}</span>`}
          <small>${item.kind}</small>
        </li>`,
      )}
    </ul>
    ${!shownItems.length && html`<p class="dim pad">Nothing found.</p>`}
  </div>`;
}

// --- what it leads to: what the page knows, and what the server finds

/**
 * Where an item leads (`at`) or what it does (`run`).
 * @typedef {{title: string, sub?: string, glyph: string, at?: string, kind: string,
 *   run?: () => void}} Item
 */

/** Screens that are about one app each. */
const OF_APP = ['dashboards', 'jobs', 'workers', 'logs', 'roles'];
/** How much is asked of the server for one text. */
const MOST_APPS = 6;
const MOST_TABLES = 12;
const MOST_HITS = 12;
const MOST_JOBS = 4;
const HITS_OF_TABLE = 4;

/** What can be reached without asking the server for more than the users. @returns {Promise<Item[]>} */
export async function listItems() {
  const accounts = await loadUsers();
  return [
    ...listPlaces().map(makePlaceItem),
    ...apps.value.flatMap(makeAppItems),
    ...pages.value.filter((page) => page.slot === 'page').map(makePageItem),
    ...findPages('palette').map(makeActionItem),
    ...accounts.map(makeUserItem),
  ];
}

const makePlaceItem = ({ name, title, glyph }) => ({
  title,
  glyph,
  at: toHref([name]),
  kind: 'Server',
});

/** The tables of an app, the app for its admins, and the screens that are about it. */
function makeAppItems(app) {
  const tables = listReadable(app).map((name) => ({
    title: toWords(name),
    sub: app.name,
    glyph: 'table',
    at: toHref(['data', app.id, name]),
    kind: 'Table',
  }));
  const itself = {
    title: app.name,
    sub: app.id,
    glyph: 'app',
    at: toHref(['apps', app.id]),
    kind: 'App',
  };
  const screens = listPlaces()
    .filter(({ name }) => OF_APP.includes(name))
    .map(({ name, glyph }) => ({
      title: `${toWords(name)} of ${app.name}`,
      glyph,
      at: toHref([name, app.id]),
      kind: 'Server',
    }));
  return app.admin ? [...tables, itself, ...screens] : [...tables, ...screens];
}

const makePageItem = (page) => ({
  title: page.title,
  glyph: page.icon,
  at: toHref(['pages', page.plugin, page.id]),
  kind: 'Page',
});

const makeActionItem = (page) => ({
  title: page.title,
  glyph: page.icon,
  run: () => openPart(page),
  kind: 'Action',
});

const makeUserItem = (account) => ({
  title: nameAccount(account),
  sub: account.username,
  glyph: 'users',
  at: toHref(['users', account.id]),
  kind: 'User',
});

/** Routes of the API, for those who may see the plugins. @returns {Promise<Item[]>} */
export async function listRoutes() {
  if (!admin.value) return [];
  const { plugins } = await get('/api/v1/plugins');
  return plugins.flatMap((plugin) =>
    plugin.routes.map((route) => ({
      title: `${route.method} ${route.path}`,
      glyph: 'code',
      at: toHref(['plugins', plugin.name]),
      kind: 'Route',
    })),
  );
}

/** The newest jobs of each app whose type or id holds the text. @returns {Promise<Item[]>} */
export async function findJobs(text, signal) {
  if (!features.value.has('jobs')) return [];
  const findInApp = async (app) => {
    const jobs = await get(url`/api/v1/apps/${app.id}/jobs`, { limit: 100 }, { signal });
    return jobs
      .filter((job) => `${job.payload?.type ?? ''} ${job.id}`.toLowerCase().includes(text))
      .map((job) => ({
        title: `${job.payload?.type || 'Job'} ${job.id.slice(0, 8)}`,
        sub: `${job.status} in ${app.name}`,
        glyph: 'jobs',
        at: toHref(['jobs', app.id], { job: job.id }),
        kind: 'Job',
      }));
  };
  const lists = await Promise.all(apps.value.slice(0, MOST_APPS).map(findInApp));
  return lists.flat().slice(0, MOST_JOBS);
}

/**
 * Records that a text finds, of readable tables, those of the app that is open first; a few of each.
 * @returns {Promise<Item[]>}
 */
export async function findTitles(text, signal) {
  const isOpen = (app) => Number(app.id === route.value.parts[1]);
  const inOrder = apps.value.toSorted((left, right) => isOpen(right) - isOpen(left));
  const tables = inOrder.flatMap((app) => listReadable(app).map((name) => ({ app, name })));
  const findInTable = async ({ app, name }) => {
    const hits = await findRecords(app.id, name, text, signal, HITS_OF_TABLE);
    return hits.map(({ id, title }) => ({
      title,
      sub: toWords(name),
      glyph: 'right',
      at: toHref(['record', app.id, name, id]),
      kind: 'Record',
    }));
  };
  const lists = await Promise.all(tables.slice(0, MOST_TABLES).map(findInTable));
  return lists.flat().slice(0, MOST_HITS);
}
