/** The app that a screen is about, chosen in its head and kept in the address. */
import { html, useEffect } from '../core/kit.js';
import { go } from '../core/router.js';
import { apps } from '../core/store.js';
import { Empty } from '../core/ui.js';

/**
 * @param {{screen: string, appId?: string, fits?: (app: any) => boolean,
 *   extra?: [string, string][], children: (appId: string, picker: any) => any}} props
 */
export function WithApp({ screen, appId, fits = () => true, extra = [], children }) {
  const known = apps.value.filter(fits);
  const options = [...extra, ...known.map((app) => [app.id, app.name])];
  const first = options[0]?.[0];
  useEffect(() => {
    if (!appId && first) location.replace(`#/${screen}/${first}`);
  }, [appId, first]);
  if (!first)
    return html`<${Empty} title="No app" glyph="app">There is no app here that you may look at.<//>`;
  if (!appId) return null;
  if (!options.some(([id]) => id === appId))
    return html`<${Empty} title="There is no such app" glyph="app">
      It may have been removed, or you have no role on it.
    <//>`;
  const picker = html`<select aria-label="App" onChange=${(e) => go([screen, e.target.value])}>
    ${options.map(
      ([id, title]) =>
        html`<option key=${id} value=${id} selected=${id === appId}>${title}</option>`,
    )}
  </select>`;
  return children(appId, picker);
}
