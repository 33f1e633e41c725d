/** The place of a plugin's module: it may throw, be missing or hang, the console goes on. */
import { html, useEffect, useErrorBoundary, useState } from '../core/kit.js';
import { Loading } from '../core/ui.js';
import { kit } from './kit.js';

const MARK = 'caudex.opening';

/**
 * @param {any} props `page`; `part` is the export that is shown, and `fallback` is shown where the
 *   module has no such export. Further properties are given to the component.
 */
export function Plugin({ page, part = 'default', fallback = null, ...props }) {
  const [module, set] = useState(null);
  const [error, reset] = useErrorBoundary((e) => console.warn(`page of plugin ${page.plugin}:`, e));
  const key = `${page.plugin}/${page.id}`;
  // A page that kept the browser busy until it was reloaded is not opened again unasked.
  const [hung, allow] = useState(() => sessionStorage.getItem(MARK) === key);
  useEffect(() => {
    if (hung) return undefined;
    sessionStorage.setItem(MARK, key);
    const timer = setTimeout(() => sessionStorage.removeItem(MARK), 1500);
    import(page.module).then(
      (m) => set({ Component: m[part] }),
      (e) => set({ error: e }),
    );
    return () => {
      clearTimeout(timer);
      sessionStorage.removeItem(MARK);
    };
  }, [page.module, hung]);
  if (hung)
    return html`<div class="notice warn">
      <b>The page “${page.title}” of plugin ${page.plugin} did not answer the last time.</b>
      <button
        onClick=${() => {
          sessionStorage.removeItem(MARK);
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
  if (!module) return html`<${Loading} />`;
  return html`<${module.Component} kit=${kit} page=${page} ...${props} />`;
}
