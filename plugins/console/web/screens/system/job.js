/** One job: its dialog, what can be done with it, and a form for a new one. */
import { html, useState } from '../../core/kit.js';
import { get, post } from '../../core/api.js';
import { A } from '../../core/router.js';
import { readsTrail } from '../../core/store.js';
import { parse, pretty } from '../../core/json.js';
import { ErrorBox, Loaded, fail, openDialog, toast, useLoad, when } from '../../core/ui.js';

export const COLOURS = {
  pending: '',
  running: 'info',
  completed: 'good',
  failed: 'bad',
  cancelled: 'warn',
};
export const OPEN = ['pending', 'running'];

export const cancel = (path, job) => post(`${path}/${job.id}/cancel`);
export const again = (path, job) => post(path, { payload: job.payload });

/** Show a job in a dialog, as it is now. */
export const openJob = (path, id, reload) =>
  openDialog(
    ({ close }) => html`<${Job} path=${path} id=${id} reload=${reload} close=${close} />`,
    {
      label: 'Job',
      wide: true,
    },
  );

function Job({ path, id, reload, close }) {
  const found = useLoad(async () => {
    const [job, tries] = await Promise.all([
      get(`${path}/${id}`),
      get(`${path}/${id}/attempts`).catch(() => []),
    ]);
    return { ...job, tries };
  }, [id]);
  const act = (work, said) => () =>
    work(path, found.data).then(() => {
      close();
      toast(said);
      reload();
    }, fail);
  return html`<${Loaded} of=${found}>
    ${(j) => html`<div class="row">
        <h2>Job <code>${j.id.slice(0, 8)}</code></h2>
        <span class="tag ${COLOURS[j.status]}">${j.status}</span>
      </div>
      <ol class="timeline">
        <li><b>Created</b> ${when(j.created_at)}</li>
        ${
          j.attempts > j.tries.length &&
          html`<li>${j.attempts - j.tries.length} attempts that are not kept</li>`
        }
        ${j.tries.map((each, i) => html`<${Attempt} key=${i} ...${each} last=${i === j.tries.length - 1} />`)}
        <li>
          ${
            j.status === 'pending'
              ? html`<b>${j.attempts ? 'Next attempt' : 'Due'}</b> ${when(j.run_at)}`
              : html`<b>${j.status === 'running' ? 'Last change' : `Ended: ${j.status}`}</b>${' '}
                  ${when(j.updated_at)}`
          }
        </li>
      </ol>
      ${j.error && html`<div class="notice bad">${j.error}</div>`}
      <h3>Payload</h3>
      <pre tabindex="0">${pretty(j.payload)}</pre>
      ${j.result !== null && html`<h3>Result</h3><pre tabindex="0">${pretty(j.result)}</pre>`}
      <div class="actions">
        ${
          readsTrail(j.app_id) &&
          html`<${A}
            class="button"
            to=${['audit']}
            query=${{ app: j.app_id, request: j.id }}
            onClick=${() => close()}
          >
            What it changed
          <//>`
        }
        ${
          OPEN.includes(j.status) &&
          html`<button onClick=${act(cancel, 'Cancelled.')}>Cancel the job</button>`
        }
        <button onClick=${act(again, 'Enqueued again.')}>Run again</button>
        <button class="primary" autofocus onClick=${() => close()}>Close</button>
      </div>`}
  <//>`;
}

const Attempt = ({ started_at: start, ended_at: end, error, last }) => html`<li>
  <b>Attempt</b> ${when(start)}
  ${end && start && html`<span class="dim"> for ${span(Date.parse(end) - Date.parse(start))}</span>`}
  ${
    error
      ? html`<div class="cut2">${error}</div>`
      : !last && html`<div class="dim">The worker ended before the job did.</div>`
  }
</li>`;
/** "1.5 s" */
const span = (ms) => (ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60000)} min`);

export function NewJob({ path, close }) {
  const [text, setText] = useState('{"type": ""}');
  const [at, setAt] = useState('');
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      const { job_id: id } = await post(path, {
        payload: parse(text),
        ...(at ? { run_at: new Date(at).toISOString() } : {}),
      });
      toast(`Job ${id.slice(0, 8)} enqueued.`);
      close(true);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>New job</h2>
    <label class="field">
      <span>Payload</span>
      <textarea
        class="mono"
        rows="8"
        autofocus
        value=${text}
        onInput=${(e) => setText(e.target.value)}
      />
    </label>
    <label class="field">
      <span>Run at <i>optional</i></span>
      <input type="datetime-local" value=${at} onInput=${(e) => setAt(e.target.value)} />
    </label>
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Enqueue</button>
    </div>
  </form>`;
}
