/** Crons of an app: when they run next, in plain words, and "run now". */
import { html } from '../../core/kit.js';
import { get, patch, post, url } from '../../core/api.js';
import { Ago, formatTime } from '../../core/screen.js';
import { attempt, toast, useLoad } from '../../core/ui.js';
import { writeSchedule } from './schedule.js';

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
