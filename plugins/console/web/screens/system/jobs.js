/** Jobs of an app: by state, over the last hour, with payload, result and error; and its crons. */
import { html, useEffect, useState } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { pretty } from '../../core/json.js';
import { setQuery } from '../../core/router.js';
import { features, findApp } from '../../core/store.js';
import { Ago, Empty, ErrorBox, Head, Loaded, confirm, fail, icon, openDialog, toast, useLoad, when } from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';
import { Bars } from '../../parts/chart.js';
import { CopyAs } from '../../parts/code.js';
import { Crons } from './crons.js';

const STATES = ['pending', 'running', 'completed', 'failed', 'cancelled'];
const COLOURS = { pending: '', running: 'info', completed: 'good', failed: 'bad', cancelled: 'warn' };
const OPEN = ['pending', 'running'];

export default function Jobs({ parts: [appId], query }) {
  return html`<${WithApp} screen="jobs" appId=${appId}>${(id, picker) => html`<${Screen} key=${id} appId=${id} picker=${picker} status=${query.status} />`}<//>`;
}

function Screen({ appId, picker, status }) {
  const path = url`/api/v1/apps/${appId}/jobs`;
  const [older, setOlder] = useState([]);
  const recent = useLoad(() => get(path, { limit: 1000 }), [appId]);
  const list = useLoad(() => { setOlder([]); return get(path, { status, limit: 100 }); }, [appId, status]);
  useEffect(() => { const timer = setInterval(() => { if (!document.hidden) { list.reload(); recent.reload(); } }, 10000); return () => clearInterval(timer); }, [appId, status]);
  const reload = () => { list.reload(); recent.reload(); };
  const enqueue = async () => { if (await openDialog(({ close }) => html`<${NewJob} path=${path} close=${close} />`, { label: 'New job', wide: true })) reload(); };
  const number = (state) => { const n = (recent.data ?? []).filter((j) => j.status === state).length; return recent.data?.length === 1000 ? `${n}+` : n; };
  const shown = [...(list.data ?? []), ...older];
  const more = async () => {
    try { setOlder([...older, ...await get(path, { status, limit: 100, before: shown[shown.length - 1].id })]); } catch (error) { fail(error); }
  };
  const many = async (verb, jobs) => {
    if (!(await confirm(`${verb} ${jobs.length} ${jobs.length === 1 ? 'job' : 'jobs'}?`, verb === 'Cancel' ? 'Running jobs have a few seconds to end.' : 'Each is enqueued again as a new job with the same payload.', { yes: verb, danger: verb === 'Cancel' }))) return;
    let done = 0;
    for (const job of jobs) { try { await (verb === 'Cancel' ? cancel(path, job) : again(path, job)); done += 1; } catch (error) { fail(error); } }
    toast(`${done} of ${jobs.length} done.`);
    reload();
  };
  const failed = shown.filter((j) => j.status === 'failed');
  const open = shown.filter((j) => OPEN.includes(j.status));
  return html`<${Head} title="Jobs">${picker}<button class="icon quiet" aria-label="Reload" title="Reload" onClick=${reload}>${icon('refresh')}</button><${CopyAs} request=${{ method: 'GET', path, query: { status } }} />
      <button class="primary" onClick=${enqueue}>${icon('plus')}New job</button><//>
    <${Hour} jobs=${recent.data ?? []} />
    ${features.value.has('cron') && html`<${Crons} appId=${appId} admin=${findApp(appId)?.admin} />`}
    <nav class="tabs" aria-label="State"><button aria-pressed=${!status} onClick=${() => setQuery({ status: null })}>All</button>${STATES.map((s) => html`<button key=${s} aria-pressed=${status === s} onClick=${() => setQuery({ status: s })}>${s} <small> ${number(s)}</small></button>`)}
      <span class="grow" />${failed.length > 0 && html`<button onClick=${() => many('Retry', failed)}>Retry the ${failed.length} failed shown</button>`}${open.length > 0 && status && html`<button onClick=${() => many('Cancel', open)}>Cancel the ${open.length} shown</button>`}</nav>
    <${Loaded} of=${list}>${() => (shown.length ? html`<div class="scrollx"><table class="list"><thead><tr><th>State</th><th>Type</th><th>Created</th><th class="num">Attempts</th><th>Progress or error</th><th /></tr></thead><tbody>${shown.map((job) => html`<tr key=${job.id}>
        <td><span class="tag ${COLOURS[job.status]}">${job.status}</span></td><td><button class="link" onClick=${() => detail(path, job, reload)}>${job.payload?.type || html`<code>${job.id.slice(0, 8)}</code>`}</button></td><td class="nowrap"><${Ago} at=${job.created_at} /></td><td class="num">${job.attempts}</td><td><${Progress} job=${job} /></td>
        <td class="right nowrap">${OPEN.includes(job.status) ? html`<button class="small" onClick=${() => cancel(path, job).then(reload, fail)}>Cancel</button>` : html`<button class="small" onClick=${() => again(path, job).then(() => { toast('Enqueued again.'); reload(); }, fail)}>Run again</button>`}</td></tr>`)}</tbody></table></div>
      ${shown.length % 100 === 0 && html`<p><button onClick=${more}>Older</button></p>`}`
      : html`<${Empty} title=${status ? `No ${status} jobs` : 'No jobs yet'} glyph="jobs">A job is work for the app's worker, run at least once.<//>`)}<//>`;
}

function Progress({ job }) {
  if (job.error) return html`<span class="cut2">${job.error}</span>`;
  if (typeof job.progress === 'number' && job.status === 'running') return html`<progress max="1" value=${job.progress} aria-label="Progress" />`;
  return job.status === 'pending' && new Date(job.run_at) > new Date() ? html`<span class="dim">runs <${Ago} at=${job.run_at} /></span>` : '';
}

/** Jobs of the last hour in twelve bars of five minutes. */
function Hour({ jobs }) {
  const start = Date.now() - 3600000;
  const bars = Array.from({ length: 12 }, (_, i) => ({ label: when(new Date(start + i * 300000)), parts: STATES.map((s) => [s, 0]) }));
  let total = 0;
  for (const job of jobs) {
    const i = Math.floor((new Date(job.created_at) - start) / 300000);
    if (i >= 0 && i < 12) { bars[i].parts.find(([s]) => s === job.status)[1] += 1; total += 1; }
  }
  return html`<section class="card hour"><div class="row"><h2>Last hour</h2><span class="dim">${total} ${total === 1 ? 'job' : 'jobs'} created</span></div><${Bars} bars=${bars} title=${`${total} jobs created in the last hour`} /></section>`;
}

const cancel = (path, job) => post(`${path}/${job.id}/cancel`);
const again = (path, job) => post(path, { payload: job.payload });

function detail(path, job, reload) {
  openDialog(({ close }) => {
    const now = useLoad(() => get(`${path}/${job.id}`), []);
    const j = now.data ?? job;
    return html`<div class="row"><h2>Job <code>${j.id.slice(0, 8)}</code></h2><span class="tag ${COLOURS[j.status]}">${j.status}</span></div>
      <ol class="timeline"><li><b>Created</b> ${when(j.created_at)}</li><li><b>Due</b> ${when(j.run_at)}</li>${j.attempts > 0 && html`<li><b>Started</b> ${j.attempts} ${j.attempts === 1 ? 'time' : 'times'}</li>`}<li><b>${OPEN.includes(j.status) ? 'Last change' : `Ended: ${j.status}`}</b> ${when(j.updated_at)}</li></ol>
      ${j.error && html`<div class="notice bad">${j.error}</div>`}<h3>Payload</h3><pre tabindex="0">${pretty(j.payload)}</pre>${j.result !== null && html`<h3>Result</h3><pre tabindex="0">${pretty(j.result)}</pre>`}
      <div class="actions">${OPEN.includes(j.status) && html`<button onClick=${() => cancel(path, j).then(() => { close(); reload(); }, fail)}>Cancel the job</button>`}<button onClick=${() => again(path, j).then(() => { close(); toast('Enqueued again.'); reload(); }, fail)}>Run again</button><button class="primary" autofocus onClick=${() => close()}>Close</button></div>`;
  }, { label: 'Job', wide: true });
}

function NewJob({ path, close }) {
  const [text, setText] = useState('{"type": ""}');
  const [at, setAt] = useState('');
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      const { job_id: id } = await post(path, { payload: JSON.parse(text), ...(at ? { run_at: new Date(at).toISOString() } : {}) });
      toast(`Job ${id.slice(0, 8)} enqueued.`);
      close(true);
    } catch (problem) { setError(problem); }
  };
  return html`<form class="stack" onSubmit=${submit}><h2>New job</h2><label class="field"><span>Payload</span><textarea class="mono" rows="8" autofocus value=${text} onInput=${(e) => setText(e.target.value)} /></label>
    <label class="field"><span>Run at <i>optional</i></span><input type="datetime-local" value=${at} onInput=${(e) => setAt(e.target.value)} /></label><${ErrorBox} error=${error} /><div class="actions"><button type="button" onClick=${() => close()}>Cancel</button><button class="primary">Enqueue</button></div></form>`;
}
