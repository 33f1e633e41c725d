/** What follows a change: a toast with Undo, the undo itself, and the progress of work on many things. */
import { html, signal, useEffect, useRef, useState } from '../core/kit.js';
import { post, url } from '../core/api.js';
import { openDialog } from '../core/dialogs.js';
import { A } from '../core/router.js';
import { features, toWords } from '../core/store.js';
import { ErrorBox, Loaded, fail, toast, useLoad } from '../core/ui.js';
import { loadTitlesOf, shortenId } from './titles.js';

/** Records and conflicts that a preview lists. */
const MOST_LISTED = 100;
const CONFLICT = 412;
const REASONS = {
  'changed later': 'It has changed since.',
  'value too large': 'Its former value is too large for the trail.',
};
const COLOURS = { restored: 'good', reverted: 'info', removed: 'bad' };

/** Counts undos: a table that is shown is loaded again. */
const undos = signal(0);

/** Load what is shown again after each undo. */
export function useReloadAfterUndo(reload) {
  const shown = useRef(undos.value);
  const count = undos.value;
  useEffect(() => {
    if (count !== shown.current) reload();
    shown.current = count;
  }, [count]);
}

export const hasUndo = () => features.value.has('undo');

export const countRecords = (number) => `${number} ${number === 1 ? 'record' : 'records'}`;

/** An id for requests that are undone together. */
export function makeRequestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What the last change of this page can be taken back with; null without one, or once it was. */
let latest = null;

/** Take the last change back, as its toast does. */
export function undoLatest() {
  const action = latest;
  latest = null;
  action?.run();
}

const send = (appId, body) => post(url`/api/v1/apps/${appId}/undo`, body);

/**
 * Say that something was changed by a request, with a button that takes it back.
 * @param {string} text
 * @param {{appId: string, request: string, done?: () => void, kind?: 'ok'|'bad', detail?: string}}
 *   change `done` runs after each undo.
 */
export function toastUndo(text, { appId, request, done, ...options }) {
  if (!hasUndo() || !request) {
    toast(text, options);
    return;
  }
  const action = { title: 'Undo', run: () => undo(appId, { request }, done) };
  latest = action;
  toast(text, { ...options, action, group: 'undo' });
}

/**
 * Undo at once; where records have changed since, show them first. `done` runs afterwards, also
 * when the undo is undone.
 */
async function undo(appId, body, done) {
  try {
    showUndone(appId, await send(appId, body), done);
  } catch (error) {
    if (error.status !== CONFLICT) {
      fail(error);
      return;
    }
    openUndo(appId, body, { done });
  }
}

function showUndone(appId, reply, done) {
  latest = null;
  undos.value += 1;
  done?.();
  if (reply.undone === 0) {
    toast('There was nothing left to undo.');
    return;
  }
  const redo = () => undo(appId, { request: reply.request }, done);
  toast(`Undone: ${countRecords(reply.undone)}.`, {
    action: { title: 'Redo', run: redo },
    group: 'undo',
  });
}

/** Show what an undo would do, and do it if the user wants it. */
export async function openUndo(appId, body, { done = null, title = 'Undo' } = {}) {
  const content = ({ close }) =>
    html`<${Preview} appId=${appId} body=${body} title=${title} close=${close} />`;
  const reply = await openDialog(content, { label: title, wide: true });
  if (reply) showUndone(appId, reply, done);
}

function Preview({ appId, body, title, close }) {
  const [state, setState] = useState({});
  const tried = useLoad(async () => {
    const found = await send(appId, { ...body, dryRun: true });
    return { ...found, titles: await loadListedTitles(appId, found) };
  }, []);
  const run = async () => {
    setState({ busy: true });
    try {
      const mode = tried.data.conflicts.length ? 'possible' : 'all';
      close(await send(appId, { ...body, mode }));
    } catch (error) {
      setState({ error });
      if (error.status === CONFLICT) tried.reload();
    }
  };
  return html`<h2>${title}</h2>
    <${Loaded} of=${tried}>
      ${(found) => html`<${Found} appId=${appId} found=${found} />
        <${ErrorBox} error=${state.error} />
        <div class="actions">
          <button autofocus onClick=${() => close()}>${found.undone ? 'Cancel' : 'Close'}</button>
          ${
            found.undone > 0 &&
            html`<button class="primary" disabled=${state.busy} onClick=${run}>
              ${state.busy ? 'Undoing…' : nameButton(found)}
            </button>`
          }
        </div>`}
    <//>`;
}

/** Titles of the records that a preview lists, by `entity/id`. */
async function loadListedTitles(appId, { records, conflicts }) {
  const listed = [...records.slice(0, MOST_LISTED), ...conflicts.slice(0, MOST_LISTED)];
  const titles = new Map();
  for (const entity of new Set(listed.map((record) => record.entity))) {
    const ids = listed.filter((record) => record.entity === entity).map((record) => record.id);
    const loaded = await loadTitlesOf(appId, entity, ids).catch(() => ({}));
    for (const id of ids) {
      // One that is deleted has no title; the beginnings of ids of one hour are the same.
      const isKnown = loaded[id] && loaded[id] !== shortenId(id);
      titles.set(`${entity}/${id}`, isKnown ? loaded[id] : `…${id.slice(-8)}`);
    }
  }
  return titles;
}

const nameButton = ({ undone, conflicts }) =>
  conflicts.length ? `Undo the other ${undone}` : `Undo ${countRecords(undone)}`;

function Found({ appId, found }) {
  const { undone, records, conflicts, titles } = found;
  if (!undone && !conflicts.length) return html`<p>There is nothing left to undo.</p>`;
  const unlisted = undone - Math.min(records.length, MOST_LISTED);
  return html`${
    undone > 0 &&
    html`<p>${countRecords(undone)} would be put back:</p>
      <ul class="plain undolist" tabindex="0" aria-label="Records that are put back">
        ${records.slice(0, MOST_LISTED).map(
          (record) => html`<li key=${record.entity + record.id} class="row">
            <span class="tag ${COLOURS[record.operation]}">${record.operation}</span>
            <${RecordName} appId=${appId} record=${record} titles=${titles} />
            <span class="dim cut">${(record.fields ?? []).map(toWords).join(', ')}</span>
          </li>`,
        )}
        ${unlisted > 0 && html`<li class="dim">and ${unlisted} more</li>`}
      </ul>`
  }
  ${conflicts.length > 0 && html`<${Conflicts} appId=${appId} conflicts=${conflicts} titles=${titles} />`}`;
}

function Conflicts({ appId, conflicts, titles }) {
  const unlisted = conflicts.length - MOST_LISTED;
  return html`<div class="notice warn">
    <p>
      ${conflicts.length === 1 ? '1 record stays as it is:' : `${conflicts.length} records stay as they are:`}
    </p>
    <ul class="plain undolist" tabindex="0" aria-label="Records that stay as they are">
      ${conflicts.slice(0, MOST_LISTED).map(
        (conflict) => html`<li key=${conflict.entity + conflict.id} class="row">
          <${RecordName} appId=${appId} record=${conflict} titles=${titles} />
          <span>${REASONS[conflict.reason] ?? conflict.error}</span>
        </li>`,
      )}
      ${unlisted > 0 && html`<li class="dim">and ${unlisted} more</li>`}
    </ul>
  </div>`;
}

const RecordName = ({ appId, record, titles }) => html`<${A}
  to=${['record', appId, record.entity, record.id]}
  target="_blank"
>
  ${toWords(record.entity)} · ${titles.get(`${record.entity}/${record.id}`)}
<//>`;

// --- work on many things: a dialog shows how far it is and can stop it, then a toast says how it went

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

/**
 * Show a dialog while something runs. Returns how far it came.
 * @param {string} title @param {number} total
 * @param {(state: any, report: () => void) => Promise<void>} run
 */
export function openProgress(title, total, run) {
  const content = ({ close }) =>
    html`<${Progress} title=${title} total=${total} run=${run} close=${close} />`;
  return openDialog(content, { label: title });
}

async function runTask(title, noun, total, run, show = toast) {
  const result = await openProgress(title, total, run);
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
