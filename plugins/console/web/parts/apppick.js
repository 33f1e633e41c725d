/** The app that a screen is about, chosen in its head and kept in the address. */
import { html, useEffect } from '../core/kit.js';
import { go } from '../core/router.js';
import { apps } from '../core/store.js';
import { Empty } from '../core/ui.js';
import { Options } from '../form/control.js';

/**
 * @param {{screen: string, appId?: string, fits?: (app: any) => boolean,
 *   extra?: [string, string][], children: (appId: string, picker: any) => any}} props
 */
export function WithApp({ screen, appId, fits = () => true, extra = [], children }) {
  const fitting = apps.value.filter(fits).map((app) => [app.id, app.name]);
  const choices = [...extra, ...fitting];
  const firstId = choices[0]?.[0];
  useEffect(() => {
    if (!appId && firstId) location.replace(`#/${screen}/${firstId}`);
  }, [appId, firstId]);
  if (!firstId)
    return html`<${Empty} title="No app" glyph="app">There is no app here that you may look at.<//>`;
  if (!appId) return null;
  const isListed = choices.some(([id]) => id === appId);
  if (!isListed)
    return html`<${Empty} title="There is no such app" glyph="app">
      It may have been removed, or you have no role on it.
    <//>`;
  const picker = html`<select
    class="apps"
    aria-label="App"
    onChange=${(event) => go([screen, event.target.value])}
  >
    <${Options} choices=${choices} chosen=${appId} />
  </select>`;
  return children(appId, picker);
}
