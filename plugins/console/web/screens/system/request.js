/** What a request caused: rows, jobs, calls of workers, events, lines of logs, and what its jobs did. */
import { html } from '../../core/kit.js';
import { get, url } from '../../core/api.js';
import { A } from '../../core/router.js';
import { Ago, CopyAs, Head, formatTime } from '../../core/screen.js';
import { features, findApp, loadUsers, nameAccounts, toWords } from '../../core/store.js';
import { Empty, Loaded, icon, useLoad } from '../../core/ui.js';
import { shortenId } from '../../parts/titles.js';
import { hasUndo, openUndo } from '../../parts/undo.js';
import { COLOURS as STATES } from '../jobs/job.js';
import { COLOURS, nameOperation } from './audit.js';

/** Calls and jobs of a request that are listed. */
const MOST_LISTED = 200;

export default function RequestScreen({ parts: [id] }) {
  const path = url`/api/v1/requests/${id ?? ''}`;
  const loaded = useLoad(async () => {
    const [request, accounts] = await Promise.all([get(path), loadUsers()]);
    return { request, names: nameAccounts(accounts) };
  }, [path]);
  if (loaded.error?.status === 404)
    return html`<${Empty} title="Nothing is known of this request" glyph="history">
      It changed nothing, or it is too old.
    <//>`;
  return html`<${Loaded} of=${loaded}>
    ${({
      request,
      names,
    }) => html`<${Head} title=${html`Request <code>${shortenId(request.id)}</code>`} sub=${request.id}>
        <${UndoButton} request=${request} reload=${loaded.reload} />
        <${CopyAs} request=${{ method: 'GET', path }} />
      <//>
      <div class="stack">
        <${Facts} request=${request} names=${names} />
        <${Parts} request=${request} />
      </div>`}
  <//>`;
}

/** Undo what the request did in an app; its jobs as well, if it had any. */
function UndoButton({ request, reload }) {
  const changedApps = [...new Set(listChanges(request).map((change) => change.app))];
  const undoable = changedApps.filter((appId) => findApp(appId));
  if (!hasUndo() || !undoable.length) return null;
  const body = { request: request.id, children: request.children.length > 0 };
  return undoable.map(
    (appId) => html`<button
      key=${appId}
      onClick=${() => openUndo(appId, body, { done: reload, title: 'Undo this request' })}
    >
      ${icon('history')}${undoable.length > 1 ? `Undo in ${findApp(appId).name}` : 'Undo'}
    </button>`,
  );
}

/** The changes of a request and of its children. */
const listChanges = (request) => [
  ...request.changes,
  ...request.children.flatMap((child) => listChanges(child)),
];

function Facts({ request, names }) {
  const { first, last, actors, parent } = request;
  const people = actors.map((id) => names[id] ?? `User ${shortenId(id)}`);
  return html`<dl class="facts">
    ${first && html`<dt>When</dt><dd>${formatTime(first)} <span class="dim"><${Ago} at=${first} /></span></dd>`}
    ${first && last !== first && html`<dt>Until</dt><dd>${formatTime(last)}</dd>`}
    <dt>By</dt>
    <dd>${people.join(', ') || 'the server'}</dd>
    ${parent && html`<dt>Caused by</dt><dd><${RequestLink} id=${parent} /></dd>`}
  </dl>`;
}

function Parts({ request }) {
  const { changes, jobs, calls, events, logs, children } = request;
  return html`<div class="stack">
    ${changes.length > 0 && html`<${Changes} id=${request.id} changes=${changes} />`}
    ${calls.length > 0 && html`<${Calls} calls=${calls} />`}
    ${events.length > 0 && html`<${Events} events=${events} />`}
    ${logs > 0 && html`<p>${logs} ${logs === 1 ? 'line' : 'lines'} in logs of workers</p>`}
    ${jobs.length > 0 && html`<${Jobs} jobs=${jobs} children=${children} />`}
  </div>`;
}

const Changes = ({ id, changes }) => html`<section class="card">
  <h2>Changes</h2>
  <ul class="plain">
    ${changes.map(
      ({ app, entity, operation, count }) => html`<li key=${app + entity + operation} class="row">
        <span class="tag ${COLOURS[operation] ?? ''}">${nameOperation(operation)}</span>
        <${A} to=${['audit']} query=${{ app, entity, operation, request: id }}>
          ${count} × ${app}.${entity}
        <//>
      </li>`,
    )}
  </ul>
</section>`;

const Calls = ({ calls }) => html`<section class="card">
  <h2>Calls of workers</h2>
  <ul class="plain">
    ${calls.slice(0, MOST_LISTED).map(
      (call, index) => html`<li key=${index} class="row">
        <span class="tag ${call.error ? 'bad' : 'good'}">${call.error ? 'failed' : 'done'}</span>
        <span>${call.app}.${call.method}</span>
        <span class="dim">${call.ms} ms</span>
        <span class="cut grow">${call.error}</span>
      </li>`,
    )}
  </ul>
</section>`;

const Events = ({ events }) => html`<section class="card">
  <h2>Events</h2>
  <ul class="plain">
    ${events.slice(0, MOST_LISTED).map(
      (event) => html`<li key=${event.id} class="row">
        <span class="tag">${nameOperation(event.operation)}</span>
        <span>${toWords(event.entity)}</span>
        <code class="cut grow">${event.record_id}</code>
      </li>`,
    )}
  </ul>
</section>`;

/** The jobs, each with what it did. */
const Jobs = ({ jobs, children }) => html`<section class="card">
  <h2>Jobs</h2>
  <ul class="plain">
    ${jobs.slice(0, MOST_LISTED).map((job) => {
      const child = children.find((candidate) => candidate.id === job.id);
      return html`<li key=${job.id}>
        <div class="row">
          <span class="tag ${STATES[job.state] ?? ''}">${job.state}</span>
          <span>${job.app}</span>
          <${RequestLink} id=${job.id} word="job" />
        </div>
        ${child && html`<div class="inner"><${Parts} request=${child} /></div>`}
      </li>`;
    })}
  </ul>
</section>`;

/** Whether requests have a page on this server. */
export const hasRequests = () => features.value.has('trace');

export const RequestLink = ({ id, word = 'request' }) => html`<${A} to=${['requests', id]}>
  ${word} ${shortenId(id)}
<//>`;
