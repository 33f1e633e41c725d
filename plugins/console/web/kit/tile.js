/** Plugins' parts of other screens. Their code is loaded only where a plugin has such a part. */
import { html, useEffect, useState } from '../core/kit.js';

/** @param {any} props Those of `Plugin` in host.js. */
export function Tile(props) {
  const [Plugin, set] = useState(null);
  useEffect(() => {
    import('./host.js').then((m) => set(() => m.Plugin));
  }, []);
  return Plugin && html`<${Plugin} ...${props} />`;
}
