/** Plugins' parts of other screens. Their code is loaded only where a plugin has such a part. */
import { html, useEffect, useState } from '../core/kit.js';
import { openDialog } from '../core/dialogs.js';
import { findPages } from '../core/store.js';
import { ErrorBox, icon } from '../core/ui.js';

/** @param {any} props Those of `Plugin` in kit.js. */
export function Tile(props) {
  const [state, setState] = useState({});
  const load = async () => {
    try {
      const { Plugin } = await import('./kit.js');
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

// --- what opens a plugin's part in a dialog

/** Open a plugin's part in a dialog; it gets `close`. @returns {Promise<any>} */
export function openPart(page, props = {}) {
  const content = ({ close }) => html`<h2>${page.title}</h2>
    <${Tile} page=${page} close=${close} ...${props} />`;
  return openDialog(content, { label: page.title });
}

/**
 * @param {{appId: string, entity: any, ids: any[]|null, done: () => void}} props Nothing is shown
 *   for `null`: all that match are too many to hand to a page.
 */
export function RowActions({ appId, entity, ids, done }) {
  if (!ids) return null;
  const props = { app: appId, entity: entity.name, ids };
  return findPages('action', appId, entity.name).map((page) => {
    const open = () => openPart(page, props).then(done);
    return html`<button key=${page.id} onClick=${open}>${icon(page.icon)}${page.title}</button>`;
  });
}
