/** Opens a dialog of the builder; its modules are loaded when one is opened first. */
import { attempt } from '../../core/ui.js';

const MODULES = {
  column: () => import('./column.js'),
  table: () => import('./table.js'),
};
const OF_TABLES = ['addTable', 'renameTable', 'removeTable'];

/** @param {string} name A function of `column.js` or `table.js`; the rest are its parameters. */
export function openBuilder(name, ...parameters) {
  return attempt(async () => {
    const module = await MODULES[OF_TABLES.includes(name) ? 'table' : 'column']();
    await module[name](...parameters);
  });
}
