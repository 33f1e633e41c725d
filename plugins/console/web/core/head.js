/** The head of a screen: its title, what is below it, and the request behind it. */
import { html, useEffect } from './kit.js';
import { icon } from './ui.js';

const SERVER = document.documentElement.dataset.name;
const COPY = 'Copy as curl, Python or TypeScript';

/** Name the tab of the browser after what is shown. @param {string} title */
export function useTitle(title) {
  useEffect(() => {
    document.title = `${title} · ${SERVER}`;
  }, [title]);
}

/**
 * The request behind a screen as code.
 * @param {{request: {method: string, path: string, query?: object, body?: any}}} props
 */
export function CopyAs({ request }) {
  const show = () => import('../parts/code.js').then((code) => code.openCode(request));
  return html`<button class="quiet icon" title=${COPY} aria-label=${COPY} onClick=${show}>
    ${icon('code')}
  </button>`;
}

/** The head of a screen: title, a line below it, the request behind it, and buttons. */
export function Head({ title, children = null, sub = null, request = null }) {
  useTitle(title);
  return html`<header class="head">
    <div>
      <h1>${title}</h1>
      ${sub && html`<p class="dim">${sub}</p>`}
    </div>
    <div class="tools">
      ${request && html`<${CopyAs} request=${request} />`}
      ${children}
    </div>
  </header>`;
}
