/** Jobs of an app: by state, over the last hour, with payload, result and error; and its crons. */
import { html, useEffect, useState } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { setQuery } from '../../core/router.js';
import { features, findApp } from '../../core/store.js';
import {
  Ago,
  Empty,
  Head,
  Loaded,
  confirm,
  fail,
  icon,
  openDialog,
  toast,
  useLoad,
  when,
  CopyAs,
} from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';
import { Bars } from '../../parts/chart.js';
import { runPortions } from '../../parts/progress.js';
import { Crons } from './crons.js';
import { COLOURS, NewJob, OPEN, again, cancel, openJob } from './job.js';

/** Jobs of a state that the server counts. */
const MOST = 10000;
const STATES = ['pending', 'running', 'completed', 'failed', 'cancelled'];

export default function Jobs({ parts: [appId], query }) {
  return html`<${WithApp} screen="jobs" appId=${appId}>
    ${(id, picker) => html`<${Screen}
      key=${id}
      appId=${id}
      picker=${picker}
      status=${query.status}
      chosen=${query.job}
    />`}
  <//>`;
}

function Screen({ appId, picker, status, chosen }) {
  const path = url`/api/v1/apps/${appId}/jobs`;
  const [older, setOlder] = useState([]);
  const counts = useLoad(() => get(`${path}/counts`).catch(() => ({})), [appId]);
  const recent = useLoad(() => get(path, { limit: 1000 }), [appId]);
  const list = useLoad(() => {
    setOlder([]);
    return get(path, { status, limit: 100 });
  }, [appId, status]);
  const reload = () => {
    list.reload();
    recent.reload();
    counts.reload();
  };
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), 10000);
    return () => clearInterval(timer);
  }, [appId, status]);
  const enqueue = async () => {
    if (
      await openDialog(({ close }) => html`<${NewJob} path=${path} close=${close} />`, {
        label: 'New job',
        wide: true,
      })
    )
      reload();
  };
  const number = (state) => {
    const n = counts.data?.[state];
    return n >= MOST ? '> 10,000' : (n ?? '');
  };
  const shown = [...(list.data ?? []), ...older];
  const more = async () => {
    try {
      setOlder([
        ...older,
        ...(await get(path, { status, limit: 100, before: shown[shown.length - 1].id })),
      ]);
    } catch (error) {
      fail(error);
    }
  };
  const many = async (verb) => {
    const cancels = verb === 'Cancel';
    const text = cancels
      ? 'Running jobs have a few seconds to end.'
      : 'Each is enqueued again as a new job with the same payload.';
    if (!(await confirm(`${verb} all ${status} jobs?`, text, { yes: verb, danger: cancels })))
      return;
    await runPortions(cancels ? 'Cancelling' : 'Enqueueing again', 'job', {
      total: counts.data?.[status] ?? shown.length,
      step: (before) => post(`${path}/${verb.toLowerCase()}`, { status, before }),
    });
    reload();
  };
  useEffect(() => {
    if (chosen) openJob(path, chosen, reload).then(() => setQuery({ job: null }));
  }, [chosen]);
  return html`<${Head} title="Jobs">
      ${picker}
      <button class="icon quiet" aria-label="Reload" title="Reload" onClick=${reload}>
        ${icon('refresh')}
      </button>
      <${CopyAs} request=${{ method: 'GET', path, query: { status } }} />
      <button class="primary" onClick=${enqueue}>${icon('plus')}New job</button>
    <//>
    <${Hour} jobs=${recent.data ?? []} />
    ${
      features.value.has('cron') && html`<${Crons} appId=${appId} admin=${findApp(appId)?.admin} />`
    }
    <nav class="tabs" aria-label="State">
      <button aria-pressed=${!status} onClick=${() => setQuery({ status: null })}>All</button>
      ${STATES.map(
        (s) => html`<button
          key=${s}
          aria-pressed=${status === s}
          onClick=${() => setQuery({ status: s })}
        >
          ${s} <small> ${number(s)}</small>
        </button>`,
      )}
      <span class="grow" />
      ${
        ['failed', 'cancelled'].includes(status) &&
        shown.length > 0 &&
        html`<button onClick=${() => many('Retry')}>Retry all that are ${status}</button>`
      }
      ${
        OPEN.includes(status) &&
        shown.length > 0 &&
        html`<button onClick=${() => many('Cancel')}>Cancel all that are ${status}</button>`
      }
    </nav>
    <${Loaded} of=${list}>
      ${() =>
        shown.length
          ? html`<div class="scrollx">
              <table class="list">
                <thead>
                  <tr>
                    <th>State</th>
                    <th>Type</th>
                    <th>Created</th>
                    <th class="num">Attempts</th>
                    <th>Progress or error</th>
                    <th />
                  </tr>
                </thead>
                <tbody>
                  ${shown.map(
                    (job) => html`<tr key=${job.id}>
                      <td><span class="tag ${COLOURS[job.status]}">${job.status}</span></td>
                      <td>
                        <button class="link" onClick=${() => setQuery({ job: job.id })}>
                          ${job.payload?.type || html`<code>${job.id.slice(0, 8)}</code>`}
                        </button>
                      </td>
                      <td class="nowrap"><${Ago} at=${job.created_at} /></td>
                      <td class="num">${job.attempts}</td>
                      <td><${Progress} job=${job} /></td>
                      <td class="right nowrap">
                        ${
                          OPEN.includes(job.status)
                            ? html`<button
                              class="small"
                              onClick=${() => cancel(path, job).then(reload, fail)}
                            >
                              Cancel
                            </button>`
                            : html`<button
                              class="small"
                              onClick=${() =>
                                again(path, job).then(() => {
                                  toast('Enqueued again.');
                                  reload();
                                }, fail)}
                            >
                              Run again
                            </button>`
                        }
                      </td>
                    </tr>`,
                  )}
                </tbody>
              </table>
            </div>
            ${shown.length % 100 === 0 && html`<p><button onClick=${more}>Older</button></p>`}`
          : html`<${Empty} title=${status ? `No ${status} jobs` : 'No jobs yet'} glyph="jobs">
            A job is work for the app's worker, run at least once.
          <//>`}
    <//>`;
}

function Progress({ job }) {
  if (job.error) return html`<span class="cut2">${job.error}</span>`;
  if (typeof job.progress === 'number' && job.status === 'running')
    return html`<progress max="1" value=${job.progress} aria-label="Progress" />`;
  return job.status === 'pending' && new Date(job.run_at) > new Date()
    ? html`<span class="dim">runs <${Ago} at=${job.run_at} /></span>`
    : '';
}

/** Jobs of the last hour in twelve bars of five minutes. */
function Hour({ jobs }) {
  const start = Date.now() - 3600000;
  const bars = Array.from({ length: 12 }, (_, i) => ({
    label: when(new Date(start + i * 300000)),
    parts: STATES.map((s) => /** @type {[string, number]} */ ([s, 0])),
  }));
  let total = 0;
  for (const job of jobs) {
    const i = Math.floor((Date.parse(job.created_at) - start) / 300000);
    if (i >= 0 && i < 12) {
      bars[i].parts.find(([s]) => s === job.status)[1] += 1;
      total += 1;
    }
  }
  return html`<section class="card hour">
    <div class="row">
      <h2>Last hour</h2>
      <span class="dim">${total} ${total === 1 ? 'job' : 'jobs'} created</span>
    </div>
    <${Bars} bars=${bars} title=${`${total} jobs created in the last hour`} />
  </section>`;
}
