/**
 * The place of a plugin's module: it may throw or be missing, the console goes on. One that never
 * returns keeps this tab busy until it is closed; other tabs go on, and none opens it again unasked.
 */
import { html, useEffect, useErrorBoundary, useState } from '../core/kit.js';
import { reached } from '../core/api.js';
import { Loading } from '../core/ui.js';
import { kit } from './kit.js';

/** Milliseconds within which a module shows something. */
const WITHIN = 1500;

/**
 * @param {any} props `page`; `part` is the export that is shown, and `fallback` is shown where the
 *   module has no such export. Further properties are given to the component.
 */
export function Plugin({ page, part = 'default', fallback = null, ...props }) {
  const [module, set] = useState(null);
  const [error, reset] = useErrorBoundary((e) => console.warn(`page of plugin ${page.plugin}:`, e));
  // In the storage of all tabs: the mark of a module that hung outlives its tab.
  const mark = `caudex.opening.${page.plugin}/${page.id}`;
  const [hung, allow] = useState(() => Date.now() - Number(localStorage[mark] ?? NaN) > WITHIN);
  useEffect(() => {
    if (hung) return undefined;
    const done = () => delete localStorage[mark];
    localStorage[mark] = Date.now();
    const timer = setTimeout(done, WITHIN);
    // When the name of the plugin is drawn: it is what is seen should the module never return.
    const start = setTimeout(
      () =>
        import(reached(page.module)).then(
          (m) => set({ Component: m[part] }),
          (e) => set({ error: e }),
        ),
      20,
    );
    return () => {
      clearTimeout(timer);
      clearTimeout(start);
      done();
    };
  }, [page.module, hung]);
  if (hung)
    return html`<div class="notice warn">
      <b>The page “${page.title}” of plugin ${page.plugin} did not answer the last time.</b>
      <button
        onClick=${() => {
          delete localStorage[mark];
          allow(false);
        }}
      >
        Open it anyway
      </button>
    </div>`;
  if (fallback && module && !module.error && !module.Component) return fallback;
  const problem =
    error ??
    module?.error ??
    (module && typeof module.Component !== 'function'
      ? new Error('its module has no component as `export default`')
      : null);
  if (problem)
    return html`<div class="notice bad" role="alert">
      <b>The page “${page.title}” of plugin ${page.plugin} failed.</b>
      <div>${String(problem.message ?? problem)}</div>
      <button onClick=${reset}>Try again</button>
    </div>`;
  if (!module)
    return html`<${Loading} />
      <p class="dim">Opening “${page.title}” of plugin ${page.plugin}…</p>`;
  return html`<${module.Component} kit=${kit} page=${page} ...${props} />`;
}
