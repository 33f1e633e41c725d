/** Plugins' parts of other screens. Their code is loaded only where a plugin has such a part. */
import { html, useEffect, useState } from '../core/kit.js';
import { ErrorBox } from '../core/ui.js';

/** @param {any} props Those of `Plugin` in host.js. */
export function Tile(props) {
  const [state, setState] = useState({});
  const load = async () => {
    try {
      const { Plugin } = await import('./host.js');
      setState({ Plugin });
    } catch (error) {
      setState({ error });
    }
  };
  useEffect(() => {
    load();
  }, []);
  const { Plugin, error } = state;
  if (error) return html`<${ErrorBox} error=${error} retry=${load} />`;
  return Plugin && html`<${Plugin} ...${props} />`;
}
