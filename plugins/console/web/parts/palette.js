/** The palette (Ctrl K): places, tables, users, pages and records, found by a few letters. */
import { html, useEffect, useRef, useState } from '../core/kit.js';
import { post, url } from '../core/api.js';
import { href } from '../core/router.js';
import { apps, describe, pages, readable, users, words } from '../core/store.js';
import { icon, openDialog } from '../core/ui.js';
import { titleOf, titleFields } from './titles.js';
import { places } from './shell.js';

let open = false;

export async function openPalette() {
  if (open) return;
  open = true;
  await openDialog(Palette, { label: 'Search' });
  open = false;
}

/** What can be reached without asking the server. */
async function known() {
  const found = places().map(([to, title, glyph]) => ({ title, glyph, at: href([to]), kind: 'Server' }));
  for (const app of apps.value) {
    for (const name of readable(app)) found.push({ title: words(name), sub: app.name, glyph: 'table', at: href(['data', app.id, name]), kind: 'Table' });
    for (const to of ['jobs', 'workers', 'logs', 'roles']) found.push({ title: `${words(to)} of ${app.name}`, glyph: to === 'roles' ? 'shield' : to.replace(/s$/, ''), at: href([to, app.id]), kind: 'Server' });
  }
  for (const page of pages.value.filter((p) => p.slot === 'page')) found.push({ title: page.title, glyph: page.icon, at: href(['pages', page.plugin, page.id]), kind: 'Page' });
  for (const person of await users()) found.push({ title: person.display_name || person.username, sub: person.username, glyph: 'users', at: href(['users', person.id]), kind: 'User' });
  return found;
}

/** Records whose title holds the text, of every readable table; a few of each. */
async function records(text, signal) {
  const tables = apps.value.flatMap((app) => readable(app).map((name) => [app, name])).slice(0, 12);
  const found = await Promise.all(tables.map(async ([app, name]) => {
    const entity = (await describe(app.id)).entities.find((e) => e.name === name);
    const fields = titleFields(entity);
    const where = /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text) && entity.id_type === 'uuid'
      ? { id: text } : { $or: fields.map((f) => ({ [f]: { $ilike: `%${text.replace(/[%_\\]/g, '\\$&')}%` } })) };
    if (where.$or && !fields.length) return [];
    const reply = await post(url`/api/v1/apps/${app.id}/collections/${name}/query`, { where, limit: 4, total: false }, { signal });
    return reply.data.map((row) => ({ title: titleOf(entity, row), sub: words(name), glyph: 'right', at: href(['record', app.id, name, row.id]), kind: 'Record' }));
  }));
  return found.flat().slice(0, 12);
}

function match(item, text) {
  const all = `${item.title} ${item.sub ?? ''} ${item.kind}`.toLowerCase();
  return text.toLowerCase().split(/\s+/).every((part) => all.includes(part));
}

function Palette({ close }) {
  const [text, setText] = useState('');
  const [items, setItems] = useState([]);
  const [hits, setHits] = useState([]);
  const [at, setAt] = useState(0);
  const list = useRef(null);
  useEffect(() => { known().then(setItems); }, []);
  useEffect(() => {
    setAt(0);
    setHits([]);
    if (text.trim().length < 2) return undefined;
    const abort = new AbortController();
    const timer = setTimeout(() => records(text.trim(), abort.signal).then(setHits, () => null), 150);
    return () => { clearTimeout(timer); abort.abort(); };
  }, [text]);
  const shown = [...items.filter((i) => match(i, text)).slice(0, 12), ...hits];
  const pick = (item) => { close(); if (item) location.hash = item.at; };
  const key = (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (step) { e.preventDefault(); setAt((shown.length + at + step) % (shown.length || 1)); }
    if (e.key === 'Enter') { e.preventDefault(); pick(shown[at]); }
  };
  useEffect(() => { list.current?.children[at]?.scrollIntoView({ block: 'nearest' }); }, [at]);
  return html`<div class="palette"><input autofocus placeholder="Search tables, records, users…" aria-label="Search" role="combobox" aria-expanded="true"
      aria-controls="found" aria-activedescendant=${`found-${at}`} value=${text} onInput=${(e) => setText(e.target.value)} onKeyDown=${key} />
    <ul id="found" role="listbox" aria-label="Results" ref=${list}>${shown.map((item, i) => html`<li key=${item.at + item.title} id=${`found-${i}`} role="option" aria-selected=${i === at}
      onMouseMove=${() => setAt(i)} onClick=${() => pick(item)}>${icon(item.glyph)}<span class="cut">${item.title}</span>${item.sub && html`<span class="dim cut">${item.sub}</span>`}<small>${item.kind}</small></li>`)}</ul>
    ${!shown.length && html`<p class="dim pad">Nothing found.</p>`}</div>`;
}

const KEYS = [
  ['Ctrl K', 'Search everything'], ['g d', 'First table of the app'], ['g a', 'Apps'], ['g j', 'Jobs'], ['g l', 'Logs'], ['g p', 'Plugins'],
  ['/', 'Filter the table'], ['j  k', 'Next or previous row'], ['Enter', 'Open the record'], ['e', 'Edit the cell'], ['x', 'Select the row'], ['Esc', 'Leave a field or dialog'], ['?', 'This list'],
];

export const openKeys = () => openDialog(({ close }) => html`<h2>Keyboard</h2><dl class="keys">${KEYS.map(([k, said]) =>
  html`<dt>${k.split(/ +/).map((each) => html`<kbd>${each}</kbd>`)}</dt><dd>${said}</dd>`)}</dl><div class="actions"><button autofocus onClick=${() => close()}>Close</button></div>`, { label: 'Keyboard' });
