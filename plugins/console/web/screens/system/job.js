/** One job: its dialog, what can be done with it, and a form for a new one. */
import { html, useState } from '../../core/kit.js';
import { get, post } from '../../core/api.js';
import { pretty } from '../../core/json.js';
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

/** All jobs in a state, page by page, at most 10,000. */
export async function allJobs(path, status) {
  const found = [];
  while (found.length < 10000) {
    const before = found[found.length - 1]?.id;
    const page = await get(path, { status, limit: 1000, before });
    found.push(...page);
    if (page.length < 1000) break;
  }
  return found;
}

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
  const found = useLoad(() => get(`${path}/${id}`), [id]);
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
        <li><b>Due</b> ${when(j.run_at)}</li>
        ${
          j.attempts > 0 &&
          html`<li><b>Started</b> ${j.attempts} ${j.attempts === 1 ? 'time' : 'times'}</li>`
        }
        <li>
          <b>${OPEN.includes(j.status) ? 'Last change' : `Ended: ${j.status}`}</b>${' '}
          ${when(j.updated_at)}
        </li>
      </ol>
      ${j.error && html`<div class="notice bad">${j.error}</div>`}
      <h3>Payload</h3>
      <pre tabindex="0">${pretty(j.payload)}</pre>
      ${j.result !== null && html`<h3>Result</h3><pre tabindex="0">${pretty(j.result)}</pre>`}
      <div class="actions">
        ${
          OPEN.includes(j.status) &&
          html`<button onClick=${act(cancel, 'Cancelled.')}>Cancel the job</button>`
        }
        <button onClick=${act(again, 'Enqueued again.')}>Run again</button>
        <button class="primary" autofocus onClick=${() => close()}>Close</button>
      </div>`}
  <//>`;
}

export function NewJob({ path, close }) {
  const [text, setText] = useState('{"type": ""}');
  const [at, setAt] = useState('');
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      const { job_id: id } = await post(path, {
        payload: JSON.parse(text),
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
