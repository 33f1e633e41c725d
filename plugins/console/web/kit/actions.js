/** Buttons that plugins add for the records of a table: each opens the plugin's part in a dialog. */
import { html } from '../core/kit.js';
import { pagesFor } from '../core/store.js';
import { icon, openDialog } from '../core/ui.js';
import { Tile } from './tile.js';

/** Open a plugin's part in a dialog; it gets `close`. @returns {Promise<any>} */
export const openPart = (page, props = {}) =>
  openDialog(
    ({ close }) => html`<h2>${page.title}</h2><${Tile} page=${page} close=${close} ...${props} />`,
    { label: page.title },
  );

/**
 * @param {{appId: string, entity: any, ids: any[]|null, done: () => void}} props Nothing is shown
 *   for `null`: all that match are too many to hand to a page.
 */
export const RowActions = ({ appId, entity, ids, done }) =>
  ids &&
  pagesFor('action', appId, entity.name).map((page) => {
    const props = { app: appId, entity: entity.name, ids };
    return html`<button key=${page.id} onClick=${() => openPart(page, props).then(done)}>
      ${icon(page.icon)}${page.title}
    </button>`;
  });
