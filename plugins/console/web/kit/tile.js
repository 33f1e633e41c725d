/** A plugin's part of another screen. Its code is loaded only where a plugin has such a part. */
import { html, useEffect, useState } from '../core/kit.js';

export function Tile(props) {
  const [Plugin, set] = useState(null);
  useEffect(() => { import('./host.js').then((m) => set(() => m.Plugin)); }, []);
  return Plugin && html`<${Plugin} ...${props} />`;
}
