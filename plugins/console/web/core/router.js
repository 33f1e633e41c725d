/**
 * The state of the page in its address: `#/data/crm/deals?sort=value`. Behind the `#`, so that
 * filters, which hold personal data, reach no log of a proxy; the back button works.
 */
import { signal, html } from './kit.js';

export const route = signal(read());
addEventListener('hashchange', () => {
  route.value = read();
});

function read() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return {
    parts: path.split('/').filter(Boolean).map(decodeURIComponent),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** @param {string[]} parts @param {object} [query] */
export function href(parts, query = {}) {
  const pairs = Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== '');
  const text = pairs.length ? `?${new URLSearchParams(pairs)}` : '';
  return `#/${parts.map((p) => encodeURIComponent(p)).join('/')}${text}`;
}

/** Go to another page. */
export function go(parts, query) {
  location.hash = href(parts, query);
}

/** Change the query of this page; `replace` keeps it out of the history. */
export function setQuery(changes, { replace = false } = {}) {
  const address = href(route.value.parts, { ...route.value.query, ...changes });
  if (address === location.hash) return;
  if (replace) {
    history.replaceState(null, '', address);
    route.value = read();
  } else location.hash = address;
}

export const A = ({ to, query, ...rest }) => html`<a href=${href(to, query)} ...${rest} />`;
