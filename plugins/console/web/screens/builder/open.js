/** Opens a dialog of the builder; its modules are loaded when one is opened first. */
import { attempt } from '../../core/ui.js';

/** The modules of functions that `tables.js` does not have. */
const MODULES = {
  changeIndexes: () => import('./rules.js'),
  changeSearch: () => import('./rules.js'),
  changeAccess: () => import('./rules.js'),
  addFromData: () => import('./fromdata.js'),
};

/** @param {string} name A function of the builder; the rest are its parameters. */
export function openBuilder(name, ...parameters) {
  return attempt(async () => {
    const load = MODULES[name] ?? (() => import('./tables.js'));
    const steps = await load();
    await steps[name](...parameters);
  });
}
