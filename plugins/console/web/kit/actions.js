/** Buttons that plugins add for the records of a table: each opens the plugin's part in a dialog. */
import { html } from '../core/kit.js';
import { openDialog } from '../core/dialogs.js';
import { findPages } from '../core/store.js';
import { icon } from '../core/ui.js';
import { Tile } from './tile.js';

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
