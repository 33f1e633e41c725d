/** One job: its dialog, what can be done with it, and a form for a new one. */
import { html, useState } from '../../core/kit.js';
import { get, post } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { formatJson } from '../../core/json.js';
import { A } from '../../core/router.js';
import { formatTime } from '../../core/screen.js';
import { findTrace, mayReadTrail } from '../../core/store.js';
import { ErrorBox, Input, Loaded, attempt, toast, useLoad } from '../../core/ui.js';
import { CallFields, WithHandlers, readCall, startCall } from '../../form/control.js';
import { shortenId } from '../../parts/titles.js';

const MINUTE = 60_000;

export const COLOURS = {
  pending: '',
  running: 'info',
  completed: 'good',
  failed: 'bad',
  cancelled: 'warn',
};
/** States of jobs that are not at their end. */
export const OPEN = ['pending', 'running'];

/** Cancel a job, and say so. A running one has some seconds to end, so its state may stay for now. */
export const cancel = (path, job) =>
  attempt(async () => {
    await post(`${path}/${job.id}/cancel`);
    toast('Cancelled.');
  });

/** Enqueue the same work as a new job, and say so. */
export const runAgain = (path, job) =>
  attempt(async () => {
    await post(path, { payload: job.payload });
    toast('Enqueued again.');
  });

/** Show a job in a dialog, as it is now. */
export function openJob(path, id, reload) {
  const content = ({ close }) =>
    html`<${Job} path=${path} id=${id} reload=${reload} close=${close} />`;
  return openDialog(content, { label: 'Job', wide: true });
}

async function loadJob(path, id) {
  const [job, attempts] = await Promise.all([
    get(`${path}/${id}`),
    get(`${path}/${id}/attempts`).catch(() => []),
  ]);
  return { job, attempts };
}

function Job({ path, id, reload, close }) {
  const loaded = useLoad(() => loadJob(path, id), [id]);
  const act = async (work) => {
    const isDone = await work(path, loaded.data.job);
    if (!isDone) return;
    close();
    reload();
  };
  return html`<${Loaded} of=${loaded}>
    ${({ job, attempts }) => html`<div class="row">
        <h2>Job <code>${shortenId(job.id)}</code></h2>
        <span class="tag ${COLOURS[job.status]}">${job.status}</span>
      </div>
      <${Timeline} job=${job} attempts=${attempts} />
      ${job.error && html`<div class="notice bad">${job.error}</div>`}
      <h3>Payload</h3>
      <pre tabindex="0">${formatJson(job.payload)}</pre>
      ${job.result !== null && html`<h3>Result</h3><pre tabindex="0">${formatJson(job.result)}</pre>`}
      <div class="actions">
        ${mayReadTrail(job.app_id) && html`<${TrailLink} job=${job} close=${close} />`}
        ${
          OPEN.includes(job.status) &&
          html`<button onClick=${() => act(cancel)}>Cancel the job</button>`
        }
        <button onClick=${() => act(runAgain)}>Run again</button>
        <button class="primary" autofocus onClick=${() => close()}>Close</button>
      </div>`}
  <//>`;
}

function TrailLink({ job, close }) {
  return html`<${A} class="button" ...${findTrace(job.app_id, job.id)} onClick=${() => close()}>
    What it changed
  <//>`;
}

function Timeline({ job, attempts }) {
  const forgotten = job.attempts - attempts.length;
  return html`<ol class="timeline">
    <li><b>Created</b> ${formatTime(job.created_at)}</li>
    ${forgotten > 0 && html`<li>${forgotten} attempts that are not kept</li>`}
    ${attempts.map(
      (item, index) => html`<${Attempt}
        key=${index}
        item=${item}
        isLast=${index === attempts.length - 1}
      />`,
    )}
    <li><${Present} job=${job} /></li>
  </ol>`;
}

/** Where the job is now. */
function Present({ job }) {
  if (job.status === 'pending')
    return html`<b>${job.attempts ? 'Next attempt' : 'Due'}</b> ${formatTime(job.run_at)}`;
  const title = job.status === 'running' ? 'Last change' : `Ended: ${job.status}`;
  return html`<b>${title}</b> ${formatTime(job.updated_at)}`;
}

function Attempt({ item, isLast }) {
  const { started_at: start, ended_at: end, error } = item;
  const duration = start && end && writeDuration(Date.parse(end) - Date.parse(start));
  const isBroken = !error && !isLast;
  return html`<li>
    <b>Attempt</b> ${formatTime(start)}
    ${duration && html`<span class="dim"> for ${duration}</span>`}
    ${error && html`<div class="cut2">${error}</div>`}
    ${isBroken && html`<div class="dim">The worker ended before the job did.</div>`}
  </li>`;
}

/** "1.5 s" */
function writeDuration(milliseconds) {
  if (milliseconds < MINUTE) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${Math.round(milliseconds / MINUTE)} min`;
}

/** What takes a payload of any type, where the worker does not say which it takes. */
const ANY = [{ name: '', params: null }];

/** @param {{appPath: string, close: (isMade?: boolean) => void}} props */
export const NewJob = ({ appPath, close }) => html`<${WithHandlers} path=${appPath}>
  ${({ jobs }) => html`<${JobForm}
    path=${`${appPath}/jobs`}
    handlers=${jobs.length ? jobs : ANY}
    close=${close}
  />`}
<//>`;

function JobForm({ path, handlers, close }) {
  const [call, setCall] = useState({ ...startCall(handlers), text: '{"type": ""}' });
  const [time, setTime] = useState('');
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      const typed = readCall(handlers, call);
      const body = { payload: call.name ? { ...typed, type: call.name } : typed };
      if (time) body.run_at = new Date(time).toISOString();
      const { job_id: id } = await post(path, body);
      toast(`Job ${shortenId(id)} enqueued.`);
      close(true);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>New job</h2>
    <${CallFields}
      handlers=${handlers}
      call=${call}
      change=${setCall}
      title="Type"
      body="Payload"
    />
    <${Input}
      title="Run at"
      note="optional"
      type="datetime-local"
      value=${time}
      onInput=${(event) => setTime(event.target.value)}
    />
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Enqueue</button>
    </div>
  </form>`;
}
