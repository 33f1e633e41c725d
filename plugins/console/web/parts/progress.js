/** Work on many things: a dialog shows how far it is and can stop it; in the end a toast says how it went. */
import { html, useEffect, useRef, useState } from '../core/kit.js';
import { openDialog } from '../core/dialogs.js';
import { toast } from '../core/ui.js';

/**
 * Let the server work on everything of a kind, in portions. `step` gets the place where the
 * portion before it ended, and returns `{done, next}`; the last one returns no `next`.
 * @param {string} title @param {string} noun
 * @param {{total: number, step: (next: any) => Promise<{done: number, next: any}>}} task
 */
export function runPortions(title, noun, { total, step }) {
  return runTask(title, noun, total, (state, report) => takePortions(state, report, step, total));
}

/**
 * @param {string} title What is done, as "Deleting".
 * @param {string} noun As "record".
 * @param {{ids: any, total: number, size?: number, work: (part: any[]) => Promise<any>,
 *   show?: (text: string, options: any) => void}} task
 *   `ids` is any iterable; `work` gets `size` of them. A part that fails is done one by one. `show`
 *   is another toast.
 */
export function runMany(title, noun, { ids, total, size = 1, work, show = toast }) {
  const run = (state, report) => takeParts(state, report, ids, size, work);
  return runTask(title, noun, total, run, show);
}

/** Show a dialog while something runs. */
async function runTask(title, noun, total, run, show = toast) {
  const content = ({ close }) =>
    html`<${Progress} title=${title} total=${total} run=${run} close=${close} />`;
  const result = await openDialog(content, { label: title });
  if (!result) return;
  const { done, failed, problem } = result;
  const nouns = done === 1 ? noun : `${noun}s`;
  const failures = failed ? `, ${failed} failed` : '';
  show(`${done} ${nouns} done${failures}.`, { kind: failed ? 'bad' : 'ok', detail: problem });
}

async function takePortions(state, report, step, total) {
  let next = null;
  try {
    do {
      const portion = await step(next);
      next = portion.next;
      state.done += portion.done;
      report();
    } while (next && !state.isStopped);
  } catch (error) {
    state.failed = Math.max(1, total - state.done);
    state.problem = error.message;
  }
}

async function takeParts(state, report, ids, size, work) {
  // The ids first: a filter may no longer match what has been changed.
  const all = [];
  for await (const id of ids) all.push(id);
  const takeAll = async (items, partSize) => {
    for (let i = 0; i < items.length && !state.isStopped; i += partSize) {
      await take(items.slice(i, i + partSize));
      report();
    }
  };
  const take = async (part) => {
    try {
      await work(part);
      state.done += part.length;
    } catch (error) {
      if (part.length > 1 && error.status) {
        await takeAll(part, 1);
        return;
      }
      state.failed += part.length;
      state.problem = error.message;
    }
  };
  await takeAll(all, size);
}

function Progress({ title, total, run, close }) {
  // One object: the work adds to it, and the button asks it to stop.
  const { current: state } = useRef({ done: 0, failed: 0, problem: '', isStopped: false });
  const [, draw] = useState(0);
  useEffect(() => {
    const report = () => draw((count) => count + 1);
    run(state, report).finally(() => close(state));
  }, []);
  const stop = () => {
    state.isStopped = true;
  };
  const finished = state.done + state.failed;
  const failures = state.failed ? `, ${state.failed} failed` : '';
  return html`<h2>${title}</h2>
    <progress max=${Math.max(total, finished)} value=${finished} aria-label=${title} />
    <p class="dim">${finished} of ${total}${failures}</p>
    <div class="actions">
      <button onClick=${stop}>Stop</button>
    </div>`;
}
