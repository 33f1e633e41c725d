/**
 * The state of the page in its address: `#/data/crm/deals?sort=value`. Behind the `#`, so that
 * filters, which hold personal data, reach no log of a proxy; the back button works.
 */
import { html, signal } from './kit.js';
import { formatQuery } from './api.js';

export const route = signal(readAddress());

/** Asked before the page is left; one that says no keeps it. @type {Set<() => Promise<boolean>>} */
export const guards = new Set();
/** The address that is shown; that of the browser is ahead of it while a guard asks. */
let shownAddress = location.hash;
let isAsking = false;

addEventListener('hashchange', async () => {
  if (isAsking || location.hash === shownAddress) return;
  if (isBesideAsBefore()) {
    show();
    return;
  }
  const before = shownAddress;
  isAsking = true;
  const mayLeave = await askGuards();
  isAsking = false;
  if (mayLeave) {
    show();
  } else {
    location.hash = before;
  }
});

async function askGuards() {
  for (const mayLeave of guards) {
    if (!(await mayLeave())) return false;
  }
  return true;
}

/** Whether the same record is open beside a table as before: what is typed there stays. */
function isBesideAsBefore() {
  const { parts, query } = readAddress();
  const isSamePage = parts.join('/') === route.value.parts.join('/');
  return isSamePage && Boolean(query.open) && query.open === route.value.query.open;
}

function show() {
  if (!isBesideAsBefore()) guards.clear();
  shownAddress = location.hash;
  route.value = readAddress();
}

function readAddress() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return {
    parts: path.split('/').filter(Boolean).map(decodeURIComponent),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** The address of a page. @param {string[]} parts @param {object} [query] */
export function toHref(parts, query = {}) {
  const path = parts.map((part) => encodeURIComponent(part)).join('/');
  return `#/${path}${formatQuery(query)}`;
}

/** Go to another page. */
export function go(parts, query) {
  location.hash = toHref(parts, query);
}

/** Go to another page from one whose changes are saved or given up. */
export function leave(parts, query) {
  guards.clear();
  go(parts, query);
}

/** Change the query of this page; `replace` keeps it out of the history. */
export function setQuery(changes, { replace = false } = {}) {
  const address = toHref(route.value.parts, { ...route.value.query, ...changes });
  if (address === location.hash) return;
  if (replace) {
    history.replaceState(history.state, '', address);
    show();
  } else {
    location.hash = address;
  }
}

/** Keep where the reader is in this page, for when the back button leads here again. */
export function keepPlace(place) {
  history.replaceState({ place }, '');
}

/** What `keepPlace` kept for this entry of the history; null on a page that was opened newly. */
export const readPlace = () => history.state?.place ?? null;

export const A = ({ to, query, ...attributes }) =>
  html`<a href=${toHref(to, query)} ...${attributes} />`;
