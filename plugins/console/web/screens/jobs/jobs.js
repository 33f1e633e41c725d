/** Jobs of an app by state, the last hour as a chart, and what can be done with one or all. */
import { html, useEffect, useState } from '../../core/kit.js';
import { get, getAgain, patch, post, url } from '../../core/api.js';
import { confirm, openDialog } from '../../core/dialogs.js';
import { setQuery } from '../../core/router.js';
import { Ago, CopyAs, Head, Listing, formatTime, useEvery } from '../../core/screen.js';
import { features, findApp } from '../../core/store.js';
import { Empty, Loaded, attempt, icon, toast, useLoad } from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';
import { Bars } from '../../parts/chart.js';
import { shortenId } from '../../parts/titles.js';
import { runPortions } from '../../parts/undo.js';
import { COLOURS, NewJob, OPEN, cancel, openJob, runAgain } from './job.js';

/** Jobs of a state that the server counts. */
const MOST_COUNTED = 10_000;
const PAGE = 100;
/** Jobs of which the chart is made. */
const RECENT = 1000;
const PAUSE = 10_000;
const STATES = ['pending', 'running', 'completed', 'failed', 'cancelled'];

/** What can be done with all jobs of a state. */
const OF_ALL = {
  cancel: {
    title: 'Cancel',
    doing: 'Cancelling',
    text: 'Running jobs have a few seconds to end.',
    danger: true,
  },
  retry: {
    title: 'Retry',
    doing: 'Enqueueing again',
    text: 'Each is enqueued again as a new job with the same payload.',
    danger: false,
  },
};
const ACTION_OF = { pending: 'cancel', running: 'cancel', failed: 'retry', cancelled: 'retry' };

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
  const counts = useLoad(() => getAgain(`${path}/counts`).catch(() => ({})), [appId]);
  const recent = useLoad(() => getAgain(path, { limit: RECENT }), [appId]);
  const newest = useLoad(() => {
    setOlder([]);
    return getAgain(path, { status, limit: PAGE });
  }, [appId, status]);
  const reload = () => {
    newest.reload();
    recent.reload();
    counts.reload();
  };
  useEvery(PAUSE, reload, [appId, status]);
  useEffect(() => {
    if (chosen) openJob(path, chosen, reload).then(() => setQuery({ job: null }));
  }, [chosen]);
  const jobs = [...(newest.data ?? []), ...older];
  const enqueue = async () => {
    const content = ({ close }) =>
      html`<${NewJob} appPath=${url`/api/v1/apps/${appId}`} close=${close} />`;
    const isMade = await openDialog(content, { label: 'New job', wide: true });
    if (isMade) reload();
  };
  const addOlder = () =>
    attempt(async () => {
      const page = await get(path, { status, limit: PAGE, before: jobs.at(-1).id });
      setOlder([...older, ...page]);
    });
  const actOnAll = async (action) => {
    const { title, doing, text, danger } = OF_ALL[action];
    const isSure = await confirm(`${title} all ${status} jobs?`, text, { yes: title, danger });
    if (!isSure) return;
    await runPortions(doing, 'job', {
      total: counts.data?.[status] ?? jobs.length,
      step: (before) => post(`${path}/${action}`, { status, before }),
    });
    reload();
  };
  const isOnLastPage = jobs.length % PAGE !== 0;
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
    <${States}
      status=${status}
      counts=${counts.data ?? {}}
      action=${jobs.length > 0 && ACTION_OF[status]}
      act=${actOnAll}
    />
    <${Loaded} of=${newest}>
      ${() =>
        jobs.length
          ? html`<${List} path=${path} jobs=${jobs} reload=${reload} />
              ${!isOnLastPage && html`<p><button onClick=${addOlder}>Older</button></p>`}`
          : html`<${Empty} title=${status ? `No ${status} jobs` : 'No jobs yet'} glyph="jobs">
              A job is work for the app's worker, run at least once.
            <//>`}
    <//>`;
}

function States({ status, counts, action, act }) {
  const writeCount = (state) => {
    const number = counts[state];
    return number >= MOST_COUNTED ? '> 10,000' : (number ?? '');
  };
  return html`<nav class="tabs" aria-label="State">
    <button aria-pressed=${!status} onClick=${() => setQuery({ status: null })}>All</button>
    ${STATES.map(
      (state) => html`<button
        key=${state}
        aria-pressed=${status === state}
        onClick=${() => setQuery({ status: state })}
      >
        ${state} <small> ${writeCount(state)}</small>
      </button>`,
    )}
    <span class="grow" />
    ${
      action &&
      html`<button onClick=${() => act(action)}>${OF_ALL[action].title} all that are ${status}</button>`
    }
  </nav>`;
}

const List = ({
  path,
  jobs,
  reload,
}) => html`<${Listing} heads=${['State', 'Type', 'Created', ['Attempts', 'num'], 'Progress or error', '']}>
  ${jobs.map((job) => html`<${JobRow} key=${job.id} path=${path} job=${job} reload=${reload} />`)}
<//>`;

function JobRow({ path, job, reload }) {
  const act = (work) => work(path, job).then(reload);
  const isOpen = OPEN.includes(job.status);
  return html`<tr>
    <td><span class="tag ${COLOURS[job.status]}">${job.status}</span></td>
    <td>
      <button class="link" onClick=${() => setQuery({ job: job.id })}>
        ${job.payload?.type || html`<code>${shortenId(job.id)}</code>`}
      </button>
    </td>
    <td class="nowrap"><${Ago} at=${job.created_at} /></td>
    <td class="num">${job.attempts}</td>
    <td><${Progress} job=${job} /></td>
    <td class="right nowrap">
      ${
        isOpen
          ? html`<button class="small" onClick=${() => act(cancel)}>Cancel</button>`
          : html`<button class="small" onClick=${() => act(runAgain)}>Run again</button>`
      }
    </td>
  </tr>`;
}

function Progress({ job }) {
  if (job.error) return html`<span class="cut2">${job.error}</span>`;
  const isMeasured = job.status === 'running' && typeof job.progress === 'number';
  if (isMeasured) return html`<progress max="1" value=${job.progress} aria-label="Progress" />`;
  const isLater = job.status === 'pending' && new Date(job.run_at) > new Date();
  return isLater ? html`<span class="dim">runs <${Ago} at=${job.run_at} /></span>` : null;
}

const HOUR = 3_600_000;
/** Bars of the last hour, of five minutes each. */
const BARS = 12;
const BAR = HOUR / BARS;

function Hour({ jobs }) {
  const start = Date.now() - HOUR;
  const ofHour = jobs.filter((job) => Date.parse(job.created_at) >= start);
  const bars = Array.from({ length: BARS }, (_, index) => {
    const from = start + index * BAR;
    const ofBar = ofHour.filter((job) => {
      const age = Date.parse(job.created_at) - from;
      return age >= 0 && age < BAR;
    });
    return { label: formatTime(new Date(from)), parts: countStates(ofBar) };
  });
  const count = ofHour.length;
  return html`<section class="card hour">
    <div class="row">
      <h2>Last hour</h2>
      <span class="dim">${count} ${count === 1 ? 'job' : 'jobs'} created</span>
    </div>
    <${Bars} bars=${bars} title=${`${count} jobs created in the last hour`} />
  </section>`;
}

/** @returns {[string, number][]} */
function countStates(jobs) {
  return STATES.map((state) => [state, jobs.filter((job) => job.status === state).length]);
}

/** Crons whose next times are asked for. */
const MOST_ASKED = 20;

export function Crons({ appId, admin }) {
  const listPath = url`/api/v1/apps/${appId}/crons`;
  const buildPath = (cron) => `${listPath}/${encodeURIComponent(cron.name)}`;
  const addTimes = async (cron, index) => {
    if (index >= MOST_ASKED) return { ...cron, due: [] };
    const { due } = await get(`${buildPath(cron)}/upcoming`);
    return { ...cron, due };
  };
  const list = useLoad(async () => {
    const crons = await get(listPath);
    return Promise.all(crons.map(addTimes));
  }, [appId]);
  if (!list.data?.length) return null;
  const act = (work, message) =>
    attempt(async () => {
      await work();
      toast(message);
      list.reload();
    });
  const run = (cron) => act(() => post(`${buildPath(cron)}/trigger`), 'Triggered.');
  const enable = (cron, enabled) =>
    act(() => patch(buildPath(cron), { enabled }), enabled ? 'Enabled.' : 'Disabled.');
  return html`<section class="crons">
    <h2>Crons</h2>
    <${Listing} heads=${['Name', 'Schedule', 'Next times', 'Last run', '']}>
      ${list.data.map(
        (cron) => html`<${Cron}
          key=${cron.name}
          cron=${cron}
          admin=${admin}
          run=${() => run(cron)}
          enable=${(enabled) => enable(cron, enabled)}
        />`,
      )}
    <//>
  </section>`;
}

function Cron({ cron, admin, run, enable }) {
  const { name, schedule, timezone, enabled, last_run: lastRun } = cron;
  return html`<tr>
    <td class="nowrap"><b>${name}</b></td>
    <td class="nowrap">
      ${writeSchedule(schedule)}
      <br />
      <small><code>${schedule}</code> ${timezone}</small>
    </td>
    <td><${NextTimes} cron=${cron} /></td>
    <td>
      ${
        lastRun
          ? html`${lastRun.state} <${Ago} at=${lastRun.at} />`
          : html`<span class="dim">never</span>`
      }
    </td>
    <td class="right nowrap">
      ${
        admin &&
        html`<button class="small" onClick=${run}>Run now</button> <button
            class="small quiet"
            onClick=${() => enable(!enabled)}
          >
            ${enabled ? 'Disable' : 'Enable'}
          </button>`
      }
    </td>
  </tr>`;
}

function NextTimes({ cron }) {
  if (!cron.next_due) return html`<span class="tag warn">disabled</span>`;
  const texts = cron.due.map((time, index) => writeAfter(cron.due[index - 1], time));
  return html`<div class="due">
    ${texts.map((text, index) => html`<span key=${index} class=${index ? 'dim' : ''}>${text}</span>`)}
  </div>`;
}

/** A time, without its day where that is the day of the time before. */
function writeAfter(before, time) {
  const date = new Date(time);
  const isSameDay = before && new Date(before).toDateString() === date.toDateString();
  return isSameDay ? date.toLocaleTimeString(undefined, { timeStyle: 'short' }) : formatTime(time);
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

const isNumber = (text) => /^\d+$/.test(text);
/** The number of a step such as that of every five minutes; undefined for another text. */
const readStep = (text) => /^\*\/(\d+)$/.exec(text)?.[1];

/** The common schedules as a sentence; others are shown as they are written. */
export function writeSchedule(schedule) {
  const parts = schedule.trim().split(/\s+/);
  if (parts.length !== 5) return schedule;
  const [minute, hour, day, month, weekday] = parts;
  const isEveryDay = day === '*' && month === '*' && weekday === '*';
  if (isEveryDay) return writeDaily(minute, hour) ?? schedule;
  const hasTime = isNumber(minute) && isNumber(hour);
  if (!hasTime) return schedule;
  const time = writeTime(hour, minute);
  const isWeekly = day === '*' && month === '*';
  if (isWeekly && weekday === '1-5') return `on weekdays at ${time}`;
  if (isWeekly && isNumber(weekday)) return `every ${DAYS[Number(weekday) % 7]} at ${time}`;
  const isMonthly = isNumber(day) && month === '*' && weekday === '*';
  return isMonthly ? `on day ${day} of each month at ${time}` : schedule;
}

const writeTime = (hour, minute) => `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`;

/** A schedule of every day; undefined for one that has no short sentence. */
function writeDaily(minute, hour) {
  if (hour === '*') {
    if (minute === '*') return 'every minute';
    if (readStep(minute)) return `every ${readStep(minute)} minutes`;
    return isNumber(minute) ? `every hour at minute ${minute}` : undefined;
  }
  if (!isNumber(minute)) return undefined;
  if (readStep(hour)) return `every ${readStep(hour)} hours at minute ${minute}`;
  return isNumber(hour) ? `every day at ${writeTime(hour, minute)}` : undefined;
}
