/** A job of the worker: started by a button, with its progress beside it. */
import { button, element } from './elements.js';
import { showError } from './messages.js';

/** Make a button that runs a job. `payload` names it by `type`; `done` gets the result. */
export function jobButton({ app, label, running, payload, done }) {
  const start = button(label, run);
  const progress = element('progress', { max: '1', hidden: true, 'aria-label': running });

  async function run() {
    start.disabled = true;
    start.textContent = running;
    progress.hidden = false;
    progress.value = 0;
    try {
      const id = await app.jobs.enqueue(payload);
      const result = await app.jobs.wait(id, { onProgress: (value) => (progress.value = value) });
      await done(result);
    } catch (error) {
      showError(error);
    } finally {
      start.disabled = false;
      start.textContent = label;
      progress.hidden = true;
    }
  }
  return element('span', { class: 'job' }, start, progress);
}
