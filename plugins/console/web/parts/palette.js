/** The palette (Ctrl K): places, tables, users, pages and records, found by a few letters. */
import { html, useEffect, useRef, useState } from '../core/kit.js';
import { get, url } from '../core/api.js';
import { href } from '../core/router.js';
import { openPart } from '../kit/actions.js';
import { admin, apps, features, pages, pagesFor, readable, users, words } from '../core/store.js';
import { icon, openDialog } from '../core/ui.js';
import { findRecords } from './titles.js';
import { places } from './shell.js';

/** Screens that are about one app each. */
const OF_APP = ['jobs', 'workers', 'logs', 'roles'];
let open = false;

export async function openPalette() {
  if (open) return;
  open = true;
  await openDialog(Palette, { label: 'Search' });
  open = false;
}

/**
 * What can be reached without asking the server.
 * @typedef {{title: string, sub?: string, glyph: string, at?: string, kind: string,
 *   run?: () => void}} Item
 */
async function known() {
  const shown = places();
  /** @type {Item[]} */
  const found = shown.map(([to, title, glyph]) => ({
    title,
    glyph,
    at: href([to]),
    kind: 'Server',
  }));
  for (const app of apps.value) {
    for (const name of readable(app))
      found.push({
        title: words(name),
        sub: app.name,
        glyph: 'table',
        at: href(['data', app.id, name]),
        kind: 'Table',
      });
    if (app.admin)
      found.push({
        title: app.name,
        sub: app.id,
        glyph: 'app',
        at: href(['apps', app.id]),
        kind: 'App',
      });
    for (const [to] of shown.filter(([name]) => OF_APP.includes(name)))
      found.push({
        title: `${words(to)} of ${app.name}`,
        glyph: to === 'roles' ? 'shield' : to.replace(/s$/, ''),
        at: href([to, app.id]),
        kind: 'Server',
      });
  }
  for (const page of pages.value.filter((p) => p.slot === 'page'))
    found.push({
      title: page.title,
      glyph: page.icon,
      at: href(['pages', page.plugin, page.id]),
      kind: 'Page',
    });
  for (const page of pagesFor('palette'))
    found.push({ title: page.title, glyph: page.icon, run: () => openPart(page), kind: 'Action' });
  for (const person of await users())
    found.push({
      title: person.display_name || person.username,
      sub: person.username,
      glyph: 'users',
      at: href(['users', person.id]),
      kind: 'User',
    });
  return found;
}

/** Routes of the API, for those who may see the plugins. @returns {Promise<Item[]>} */
async function routes() {
  if (!admin.value) return [];
  const { plugins } = await get('/api/v1/plugins');
  return plugins.flatMap((p) =>
    p.routes.map((r) => ({
      title: `${r.method} ${r.path}`,
      glyph: 'code',
      at: href(['plugins', p.name]),
      kind: 'Route',
    })),
  );
}

/** The newest jobs of each app whose type or id holds the text. @returns {Promise<Item[]>} */
async function jobs(text, signal) {
  if (!features.value.has('jobs')) return [];
  const found = await Promise.all(
    apps.value.slice(0, 6).map(async (app) => {
      const all = await get(url`/api/v1/apps/${app.id}/jobs`, { limit: 100 }, { signal });
      const fits = (j) => `${j.payload?.type ?? ''} ${j.id}`.toLowerCase().includes(text);
      return all.filter(fits).map((j) => ({
        title: `${j.payload?.type || 'Job'} ${j.id.slice(0, 8)}`,
        sub: `${j.status} in ${app.name}`,
        glyph: 'jobs',
        at: href(['jobs', app.id], { job: j.id }),
        kind: 'Job',
      }));
    }),
  );
  return found.flat().slice(0, 4);
}

/** Records that a text finds, of every readable table; a few of each. @returns {Promise<Item[]>} */
async function records(text, signal) {
  const tables = apps.value.flatMap((app) => readable(app).map((name) => [app, name])).slice(0, 12);
  const found = await Promise.all(
    tables.map(async ([app, name]) => {
      const hits = await findRecords(app.id, name, text, signal, 4);
      return hits.map(({ id, title }) => ({
        title,
        sub: words(name),
        glyph: 'right',
        at: href(['record', app.id, name, id]),
        kind: 'Record',
      }));
    }),
  );
  return found.flat().slice(0, 12);
}

function match(item, text) {
  const all = `${item.title} ${item.sub ?? ''} ${item.kind}`.toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((part) => all.includes(part));
}

function Palette({ close }) {
  const [text, setText] = useState('');
  const [items, setItems] = useState([]);
  const [paths, setPaths] = useState([]);
  const [hits, setHits] = useState([]);
  const [at, setAt] = useState(0);
  const list = useRef(null);
  useEffect(() => {
    known().then(setItems);
    routes().then(setPaths, () => null);
  }, []);
  useEffect(() => {
    setAt(0);
    setHits([]);
    if (text.trim().length < 2) return undefined;
    const abort = new AbortController();
    const look = async () => {
      const [some, more] = [records, jobs].map((find) =>
        find(text.trim().toLowerCase(), abort.signal).catch(() => []),
      );
      const found = [...(await some), ...(await more)];
      if (!abort.signal.aborted) setHits(found);
    };
    const timer = setTimeout(look, 150);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text]);
  const fits = (list, most) => list.filter((i) => match(i, text)).slice(0, most);
  const shown = [...fits(items, 12), ...hits, ...(text ? fits(paths, 6) : [])];
  const pick = (item) => {
    close();
    if (item?.run) item.run();
    else if (item) location.hash = item.at;
  };
  const key = (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (step) {
      e.preventDefault();
      setAt((shown.length + at + step) % (shown.length || 1));
    }
    if (e.key === 'Enter') {
      e.preventDefault();
      pick(shown[at]);
    }
  };
  useEffect(() => {
    list.current?.children[at]?.scrollIntoView({ block: 'nearest' });
  }, [at]);
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
      onInput=${(e) => setText(e.target.value)}
      onKeyDown=${key}
    />
    <ul id="found" role="listbox" aria-label="Results" ref=${list}>
      ${shown.map(
        (item, i) => html`<li
          key=${item.kind + item.at + item.title}
          id=${`found-${i}`}
          role="option"
          aria-selected=${i === at}
          onMouseMove=${() => setAt(i)}
          onClick=${() => pick(item)}
        >
          ${icon(item.glyph)}
          <span class="cut">${item.title}</span>
          ${item.sub && html`<span class="dim cut">${item.sub}</span>`}
          <small>${item.kind}</small>
        </li>`,
      )}
    </ul>
    ${!shown.length && html`<p class="dim pad">Nothing found.</p>`}
  </div>`;
}

const KEYS = [
  ['Ctrl K', 'Search everything'],
  ['g d', 'First table of the app'],
  ['g a', 'Apps'],
  ['g j', 'Jobs'],
  ['g l', 'Logs'],
  ['g p', 'Plugins'],
  ['/', 'Filter the table'],
  ['j  k', 'Next or previous row'],
  ['Enter', 'Open the record'],
  ['e', 'Edit the cell'],
  ['x', 'Select the row'],
  ['Esc', 'Leave a field or dialog'],
  ['?', 'This list'],
];

export const openKeys = () =>
  openDialog(
    ({ close }) => html`<h2>Keyboard</h2>
      <dl class="keys">
        ${KEYS.map(
          ([k, said]) =>
            html`<dt>${k.split(/ +/).map((each) => html`<kbd>${each}</kbd>`)}</dt><dd>${said}</dd>`,
        )}
      </dl>
      <div class="actions"><button autofocus onClick=${() => close()}>Close</button></div>`,
    { label: 'Keyboard' },
  );
