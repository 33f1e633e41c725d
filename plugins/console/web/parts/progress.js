/** Work on many things: a dialog shows how far it is and can stop it; in the end a toast says how it went. */
import { html, useState } from '../core/kit.js';
import { openDialog, toast } from '../core/ui.js';

/**
 * Let the server work on everything of a kind, in portions. `step` gets the place where the
 * portion before it ended, and returns `{done, next}`; the last one returns no `next`.
 * @param {string} title @param {string} noun
 * @param {{total: number, step: (next: any) => Promise<{done: number, next: any}>}} task
 */
export const runPortions = (title, noun, task) => runMany(title, noun, /** @type {any} */ (task));

/**
 * @param {string} title What is done, as "Deleting".
 * @param {string} noun As "record".
 * @param {{ids: any, total: number, size?: number, work: (part: any[]) => Promise<any>}} task
 *   `ids` is any iterable; `work` gets `size` of them. A part that fails is done one by one.
 */
export async function runMany(title, noun, task) {
  const content = ({ close }) => html`<${Progress} title=${title} close=${close} ...${task} />`;
  const result = await openDialog(content, { label: title });
  if (!result) return;
  const { done, failed, said } = result;
  const text = `${done} ${noun}${done === 1 ? '' : 's'} done${failed ? `, ${failed} failed` : ''}.`;
  toast(text, { kind: failed ? 'bad' : 'ok', detail: said });
}

function Progress({ title, ids, total, size = 1, work, step, close }) {
  const [state, set] = useState({ done: 0, failed: 0, said: '', stop: false });
  const start = async (bar) => {
    if (!bar || state.running) return;
    state.running = true;
    if (step) {
      try {
        for (let next = null, last = false; !last && !state.stop; last = !next) {
          const part = await step(next);
          next = part.next;
          state.done += part.done;
          set({ ...state });
        }
      } catch (error) {
        state.failed = Math.max(1, total - state.done);
        state.said = error.message;
      }
      close(state);
      return;
    }
    // The ids first: a filter may no longer match what has been changed.
    const all = [];
    for await (const id of ids) all.push(id);
    const part = async (items) => {
      try {
        await work(items);
        state.done += items.length;
      } catch (error) {
        if (items.length > 1 && error.status) return void (await each(items, 1));
        state.failed += items.length;
        state.said = error.message;
      }
      set({ ...state });
      return undefined;
    };
    const each = async (items, by) => {
      for (let i = 0; i < items.length && !state.stop; i += by) await part(items.slice(i, i + by));
    };
    await each(all, size);
    close(state);
  };
  const now = state.done + state.failed;
  return html`<h2>${title}</h2>
    <progress ref=${start} max=${Math.max(total, now)} value=${now} aria-label=${title} />
    <p class="dim">${now} of ${total}${state.failed ? `, ${state.failed} failed` : ''}</p>
    <div class="actions">
      <button
        onClick=${() => {
          state.stop = true;
        }}
      >
        Stop
      </button>
    </div>`;
}
