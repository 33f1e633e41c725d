/** The palette (Ctrl K): places, tables, users, pages and records, found by a few letters. */
import { html, useEffect, useRef, useState } from '../core/kit.js';
import { openDialog } from '../core/dialogs.js';
import { fail, icon } from '../core/ui.js';
import { findJobs, findTitles, listItems, listRoutes } from './targets.js';

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
