/**
 * The place of a plugin's module: it may throw or be missing, the console goes on. One that never
 * returns keeps this tab busy until it is closed; other tabs go on, and none opens it again unasked.
 */
import { html, useEffect, useErrorBoundary, useState } from '../core/kit.js';
import { resolvePath } from '../core/api.js';
import { Loading } from '../core/ui.js';
import { kit } from './kit.js';

/** Milliseconds within which a module shows something. */
const WITHIN = 1500;
/** Milliseconds in which the name of the plugin is drawn: what is seen if the module never returns. */
const DRAWN = 20;
const NO_COMPONENT = 'its module has no component as `export default`';

/**
 * @param {any} props `page`; `part` is the export that is shown, and `fallback` is shown where the
 *   module has no such export. Further properties are given to the component.
 */
export function Plugin({ page, part = 'default', fallback = null, ...props }) {
  const [opened, setOpened] = useState(null);
  const [crash, resetCrash] = useErrorBoundary((error) =>
    console.warn(`page of plugin ${page.plugin}:`, error),
  );
  // In the storage of all tabs: the mark of a module that hung outlives its tab.
  const mark = `caudex.opening.${page.plugin}/${page.id}`;
  const [isHung, setHung] = useState(() => isOverdue(localStorage[mark]));
  const removeMark = () => delete localStorage[mark];
  const load = async () => {
    try {
      const exports = await import(resolvePath(page.module));
      setOpened({ Component: exports[part] });
    } catch (error) {
      setOpened({ error });
    }
  };
  useEffect(() => {
    if (isHung) return undefined;
    localStorage[mark] = Date.now();
    const end = setTimeout(removeMark, WITHIN);
    const start = setTimeout(load, DRAWN);
    return () => {
      clearTimeout(end);
      clearTimeout(start);
      removeMark();
    };
  }, [page.module, isHung]);
  const openAnyway = () => {
    removeMark();
    setHung(false);
  };

  if (isHung) return html`<${Hung} page=${page} open=${openAnyway} />`;
  const problem = crash ?? opened?.error;
  if (problem) return html`<${Failed} page=${page} problem=${problem} retry=${resetCrash} />`;
  if (!opened)
    return html`<${Loading} />
      <p class="dim">Opening “${page.title}” of plugin ${page.plugin}…</p>`;
  const { Component } = opened;
  if (!Component && fallback) return fallback;
  if (typeof Component !== 'function')
    return html`<${Failed} page=${page} problem=${new Error(NO_COMPONENT)} retry=${resetCrash} />`;
  return html`<${Component} kit=${kit} page=${page} ...${props} />`;
}

/** Whether a mark is left of a module that never returned. @param {string|undefined} mark */
function isOverdue(mark) {
  return Date.now() - Number(mark ?? NaN) > WITHIN;
}

const Hung = ({ page, open }) => html`<div class="notice warn">
  <b>The page “${page.title}” of plugin ${page.plugin} did not answer the last time.</b>
  <button onClick=${open}>Open it anyway</button>
</div>`;

const Failed = ({ page, problem, retry }) => html`<div class="notice bad" role="alert">
  <b>The page “${page.title}” of plugin ${page.plugin} failed.</b>
  <div>${String(problem.message ?? problem)}</div>
  <button onClick=${retry}>Try again</button>
</div>`;
