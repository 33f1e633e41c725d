/** Opens a dialog of the builder; its modules are loaded when one is opened first. */
import { attempt } from '../../core/ui.js';

/** @param {string} name A function of `tables.js`; the rest are its parameters. */
export function openBuilder(name, ...parameters) {
  return attempt(async () => {
    const steps = await import('./tables.js');
    await steps[name](...parameters);
  });
}
