/** Crons of an app: when they run next, in plain words, and "run now". */
import { html } from '../../core/kit.js';
import { get, patch, post, url } from '../../core/api.js';
import { Ago, fail, toast, useLoad, when } from '../../core/ui.js';

/** Crons whose next times are asked for. */
const SHOWN = 20;
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

export function Crons({ appId, admin }) {
  const path = url`/api/v1/apps/${appId}/crons`;
  const list = useLoad(async () => {
    const crons = await get(path);
    const next = (c) => get(`${path}/${encodeURIComponent(c.name)}/upcoming`);
    const due = await Promise.all(crons.map((c, i) => (i < SHOWN ? next(c) : { due: [] })));
    return crons.map((c, i) => ({ ...c, due: due[i].due }));
  }, [appId]);
  if (!list.data?.length) return null;
  const act = (work, said) => async () => {
    try {
      await work();
      toast(said);
      list.reload();
    } catch (error) {
      fail(error);
    }
  };
  return html`<section class="crons">
    <h2>Crons</h2>
    <div class="scrollx">
      <table class="list">
        <thead>
          <tr><th>Name</th><th>Schedule</th><th>Next times</th><th>Last run</th><th /></tr>
        </thead>
        <tbody>
          ${list.data.map((c) => {
            const one = `${path}/${encodeURIComponent(c.name)}`;
            return html`<tr key=${c.name}>
              <td class="nowrap"><b>${c.name}</b></td>
              <td class="nowrap">
                ${inWords(c.schedule)}
                <br />
                <small><code>${c.schedule}</code> ${c.timezone}</small>
              </td>
              <td>
                ${
                  c.next_due
                    ? html`<div class="due">
                      ${c.due.map((t, i) => html`<span key=${t} class=${i ? 'dim' : ''}>${behind(c.due[i - 1], t)}</span>`)}
                    </div>`
                    : html`<span class="tag warn">disabled</span>`
                }
              </td>
              <td>
                ${
                  c.last_run
                    ? html`${c.last_run.state} <${Ago} at=${c.last_run.at} />`
                    : html`<span class="dim">never</span>`
                }
              </td>
              <td class="right nowrap">
                ${
                  admin &&
                  html`<button
                      class="small"
                      onClick=${act(() => post(`${one}/trigger`), 'Triggered.')}
                    >
                      Run now
                    </button> <button
                      class="small quiet"
                      onClick=${act(
                        () => patch(one, { enabled: !c.enabled }),
                        c.enabled ? 'Disabled.' : 'Enabled.',
                      )}
                    >
                      ${c.enabled ? 'Disable' : 'Enable'}
                    </button>`
                }
              </td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>
  </section>`;
}

/** A time, without its day where that is the day of the time before. */
const behind = (before, at) =>
  before && new Date(before).toDateString() === new Date(at).toDateString()
    ? new Date(at).toLocaleTimeString(undefined, { timeStyle: 'short' })
    : when(at);

/** The common schedules as a sentence; others are shown as they are written. */
export function inWords(schedule) {
  const parts = schedule.trim().split(/\s+/);
  if (parts.length !== 5) return schedule;
  const [minute, hour, day, month, weekday] = parts;
  const number = (t) => /^\d+$/.test(t);
  const time = `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`;
  const rest = day === '*' && month === '*';
  if (rest && weekday === '*') {
    if (minute === '*' && hour === '*') return 'every minute';
    const step = /^\*\/(\d+)$/.exec(minute);
    if (step && hour === '*') return `every ${step[1]} minutes`;
    if (number(minute) && hour === '*') return `every hour at minute ${minute}`;
    const hours = /^\*\/(\d+)$/.exec(hour);
    if (number(minute) && hours) return `every ${hours[1]} hours at minute ${minute}`;
    if (number(minute) && number(hour)) return `every day at ${time}`;
  }
  if (rest && number(minute) && number(hour)) {
    if (weekday === '1-5') return `on weekdays at ${time}`;
    if (number(weekday)) return `every ${DAYS[Number(weekday) % 7]} at ${time}`;
  }
  if (number(day) && month === '*' && weekday === '*' && number(minute) && number(hour))
    return `on day ${day} of each month at ${time}`;
  return schedule;
}
