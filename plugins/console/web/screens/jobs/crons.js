/** Crons of an app: when they run next, in plain words, and "run now". */
import { html } from '../../core/kit.js';
import { get, patch, post, url } from '../../core/api.js';
import { Ago, formatTime } from '../../core/screen.js';
import { attempt, toast, useLoad } from '../../core/ui.js';

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
    <div class="scrollx">
      <table class="list">
        <thead>
          <tr><th>Name</th><th>Schedule</th><th>Next times</th><th>Last run</th><th /></tr>
        </thead>
        <tbody>
          ${list.data.map(
            (cron) => html`<${Cron}
              key=${cron.name}
              cron=${cron}
              admin=${admin}
              run=${() => run(cron)}
              enable=${(enabled) => enable(cron, enabled)}
            />`,
          )}
        </tbody>
      </table>
    </div>
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

// --- schedules of crons in plain words

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
