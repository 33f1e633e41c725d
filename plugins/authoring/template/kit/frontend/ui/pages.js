/** The pages of the app: which one an address behind `#` shows, and what is seen until it is there. */
import { button, element } from './elements.js';
import { sentence } from './messages.js';

let pages = [];
let main = null;
/** Counts what was asked for: a page that comes after a later one is not shown. */
let latest = 0;

/**
 * Begin to show pages: `[{ path: '/deals/:id', show: async ({ id }) => […nodes] }]`.
 *
 * The first page is the one without an address.
 */
export function startPages(list) {
  pages = list;
  main = document.querySelector('main');
  addEventListener('hashchange', () => open(true));
  return open(false);
}

/** Show the present page again, with what has changed. */
export function refresh() {
  return render(false);
}

/** Go to a page, such as `/deals/7`. */
export function go(path) {
  location.hash = path;
}

async function open(isMove) {
  document.querySelectorAll('dialog').forEach((dialog) => dialog.close());
  main.replaceChildren(element('p', { class: 'loading', role: 'status' }, 'Loading…'));
  markNavigation();
  await render(isMove);
}

/** Render the page; after a move its heading gets the focus, so that a screen reader reads it. */
async function render(isMove) {
  latest += 1;
  const number = latest;
  const nodes = await buildPage();
  if (number !== latest) return;
  main.replaceChildren(...nodes);
  const heading = main.querySelector('h1');
  const appName = document.querySelector('.brand').textContent.trim();
  document.title = heading ? `${heading.textContent} · ${appName}` : appName;
  if (!isMove || heading === null) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function buildPage() {
  const path = currentPath();
  try {
    for (const page of pages) {
      const parameters = match(page.path, path);
      if (parameters !== null) return await page.show(parameters);
    }
  } catch (error) {
    return [failure(error)];
  }
  return [failure(new Error('there is no such page'))];
}

function failure(error) {
  const isMissing = error.status === 404;
  const title = isMissing ? 'Not found' : 'This page cannot be shown';
  return element(
    'div',
    { class: 'empty', role: 'alert' },
    element('h1', {}, title),
    element('p', {}, sentence(error.message)),
    button('Try again', () => open(false)),
  );
}

function currentPath() {
  return location.hash.slice(1).split('?')[0] || pages[0].path;
}

/** Return the parameters of a path; null where it does not match. */
function match(pattern, path) {
  const wanted = pattern.split('/');
  const parts = path.split('/');
  if (wanted.length !== parts.length) return null;
  const parameters = {};
  for (const [index, name] of wanted.entries()) {
    if (name.startsWith(':')) parameters[name.slice(1)] = decodeURIComponent(parts[index]);
    else if (name !== parts[index]) return null;
  }
  return parameters;
}

function markNavigation() {
  const path = currentPath();
  for (const link of document.querySelectorAll('nav a')) {
    const isCurrent = path.startsWith(link.hash.slice(1));
    if (isCurrent) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}
