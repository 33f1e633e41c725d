/** The state of the shop for those who run it: what needs a look, requests, backups, changes. */
import { html } from '../../core/kit.js';
import { api, get, post, url } from '../../core/api.js';
import { A } from '../../core/router.js';
import { Ago, Listing, formatTime, saveAs, useEvery } from '../../core/screen.js';
import { admin, apps, features, loadUsers, nameAccounts } from '../../core/store.js';
import { Loaded, attempt, icon, toast, useLoad } from '../../core/ui.js';
import { Bars } from '../../parts/chart.js';
import { TrailRow } from './audit.js';

const PAUSE = 30_000;
/** Apps whose jobs and workers are looked at; others have screens of their own. */
const MOST_APPS = 30;
const CHANGES = 8;
const ROUTES = 5;
const MINUTE = 60_000;
const MINUTES = 60;
const MEGABYTE = 1e6;
/** A browser holds what it downloads with a token; larger files are for curl. */
const MOST_BYTES = 1e9;
const BACKUPS = '/api/v1/backups';
const HEADS = ['Route', ['Requests', 'num'], ['Errors', 'num'], ['p50', 'num'], ['p95', 'num']];
const isOn = (plugin) => features.value.has(plugin);

export function Shop() {
  const shown = useLoad(loadShop, []);
  useEvery(PAUSE, shown.reload, []);
  return html`<div class="stack shop">
    <${Loaded} of=${shown}>
      ${({ problems, traffic, trail, names }) => html`<${Problems} problems=${problems} />
        ${traffic && html`<${Requests} traffic=${traffic} />`}
        ${admin.value && isOn('backup') && html`<${Backups} />`}
        ${
          trail.length > 0 &&
          html`<section class="card">
            <h2>Latest changes</h2>
            <ol class="plain trail">
              ${trail.map(
                (row) => html`<${TrailRow} key=${row.id} row=${row} name=${names[row.actor_id]} />`,
              )}
            </ol>
          </section>`
        }`}
    <//>
  </div>`;
}

/** Ask for what the caller may see; what cannot be had is left out. */
async function loadShop() {
  const ask = (isAsked, path, query) => isAsked && get(path, query).catch(() => null);
  const administered = apps.value.filter((app) => app.admin || admin.value);
  const app = admin.value ? undefined : administered[0]?.id;
  const [status, traffic, updates, trail, accounts, ...ofApps] = await Promise.all([
    ask(admin.value, '/api/v1/status'),
    ask(admin.value, '/api/v1/traffic'),
    ask(admin.value, '/api/v1/updates'),
    ask(isOn('audit'), '/api/v1/audit', { app_id: app, limit: CHANGES }),
    loadUsers(),
    ...administered.slice(0, MOST_APPS).map(findAppProblems),
  ]);
  const hints = (updates || []).map(({ text }) => ({ kind: 'warn', text }));
  const problems = [...ofApps.flat(), ...listServerProblems(status || {}), ...hints];
  return { problems, traffic, trail: trail || [], names: nameAccounts(accounts) };
}

/** Failed jobs of an app, and a worker that should run and does not. */
async function findAppProblems({ id, name }) {
  const ask = (plugin, path) => isOn(plugin) && get(url`/api/v1/apps/${id}` + path).catch(() => 0);
  const [counts, worker] = await Promise.all([
    ask('jobs', '/jobs/counts'),
    ask('workers', '/worker/status'),
  ]);
  const problems = [];
  if (counts?.failed) {
    const text = `${name}: ${counts.failed} failed ${counts.failed === 1 ? 'job' : 'jobs'}`;
    problems.push({ kind: 'bad', text, to: ['jobs', id], query: { status: 'failed' } });
  }
  if (worker?.version && ['crashed', 'stopped'].includes(worker.status)) {
    const kind = worker.status === 'crashed' ? 'bad' : 'warn';
    problems.push({ kind, text: `${name}: the worker is ${worker.status}`, to: ['workers', id] });
  }
  return problems;
}

/** Parts of the server that report a problem. */
function listServerProblems(status) {
  return Object.entries(status).flatMap(([name, { state, problems = [] }]) => {
    const isBroken = state === 'Error';
    const texts = problems.length || !isBroken ? problems : ['it reports an error'];
    const kind = isBroken ? 'bad' : 'warn';
    return texts.map((text) => ({ kind, text: `${name}: ${text}`, to: ['health'] }));
  });
}

const Problems = ({ problems }) => html`<section class="card">
  <h2>${problems.length ? 'Needs a look' : 'All is well'}</h2>
  <ul class="plain">
    ${problems.map(
      ({ kind, text, to, query }) => html`<li key=${text}>
        <span class="tag ${kind}">${kind === 'bad' ? 'failed' : 'note'}</span>${' '}
        ${to ? html`<${A} to=${to} query=${query}>${text}<//>` : text}
      </li>`,
    )}
  </ul>
</section>`;

/** The requests of the last hour as bars of a minute, and the routes that took the most time. */
function Requests({ traffic: { total, minutes, routes, failed, processes } }) {
  const start = Math.floor(Date.now() / MINUTE - MINUTES + 1) * MINUTE;
  const byTime = new Map(minutes.map((minute) => [Date.parse(minute.at), minute]));
  const bars = Array.from({ length: MINUTES }, (_, index) => {
    const time = start + index * MINUTE;
    const { requests = 0, refusals = 0, errors = 0 } = byTime.get(time) ?? {};
    const parts = Object.entries({
      completed: requests - refusals - errors,
      cancelled: refusals,
      failed: errors,
    });
    return { label: formatTime(time), parts };
  });
  const weigh = (route) => route.requests * route.p50_ms;
  const heaviest = [...routes].sort((left, right) => weigh(right) - weigh(left)).slice(0, ROUTES);
  const title = `${total.requests} requests, ${total.refusals} refused, ${total.errors} errors`;
  return html`<section class="card hour">
    <div class="row">
      <h2>Requests of the last hour</h2>
      <span class="dim">
        ${title} · p50 ${writeTime(total.p50_ms)}, p95 ${writeTime(total.p95_ms)} · server
        processes: ${processes}
      </span>
    </div>
    <${Bars} bars=${bars} title=${title} />
    <${Listing} heads=${HEADS} tabindex="0">
      ${heaviest.map(
        (row) => html`<tr key=${row.method + row.route}>
          <td><code>${row.method} ${row.route}</code></td>
          <td class="num">${row.requests}</td>
          <td class="num">${row.errors}</td>
          <td class="num">${writeTime(row.p50_ms)}</td>
          <td class="num">${writeTime(row.p95_ms)}</td>
        </tr>`,
      )}
    <//>
    ${failed[0] && html`<${LastError} request=${failed[0]} />`}
  </section>`;
}

const LastError = ({ request }) => html`<p>
  Last error: <code>${request.method} ${request.route}</code>, request${' '}
  <${A} to=${['requests', request.request_id]}>${request.request_id}<//>
</p>`;

/** "1.4 ms", "230 ms" */
const writeTime = (milliseconds) =>
  milliseconds === null ? '–' : `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;

/** How old the last backup is; making, verifying and downloading one. */
function Backups() {
  const list = useLoad(() => get(BACKUPS), []);
  const [latest] = list.data?.runs ?? [];
  const isRunning = latest?.state === 'running';
  useEvery(PAUSE / 10, () => isRunning && list.reload(), [isRunning]);
  const start = (path) =>
    attempt(async () => {
      await post(path);
      list.reload();
    });
  return html`<section class="card">
    <div class="row">
      <h2 class="grow">Backups</h2>
      <button disabled=${isRunning} onClick=${() => start(BACKUPS)}>${icon('plus')}Make one</button>
    </div>
    <${Loaded} of=${list}>
      ${({ made_at: made, verified_at: verified, folder, scheduled, downloads, files }) => html`<p>
          Last made <${Ago} at=${made} />, last verified <${Ago} at=${verified} />.${' '}
          <span class="dim">${scheduled ? 'By schedule' : 'No schedule'}, in ${folder}</span>
        </p>
        ${latest && html`<${Run} run=${latest} />`}
        ${files[0] && html`<${Newest} file=${files[0]} offered=${downloads} isBusy=${isRunning} start=${start} />`}`}
    <//>
  </section>`;
}

/** The newest file of this machine. */
function Newest({ file: { name, size, verified }, offered, isBusy, start }) {
  const path = url`/api/v1/backups/${name}`;
  const download = () =>
    attempt(async () => {
      toast('Downloading…');
      saveAs(await api('GET', path, { blob: true }), name);
    });
  return html`<div class="row">
    <code class="grow">${name}</code>
    <span class="dim">${(size / MEGABYTE).toFixed(1)} MB</span>
    ${
      verified
        ? html`<span class="tag good">verified</span>`
        : html`<button disabled=${isBusy} onClick=${() => start(`${path}/verify`)}>Verify</button>`
    }
    ${offered && size < MOST_BYTES && html`<button onClick=${download}>Download</button>`}
  </div>`;
}

function Run({ run: { kind, state, error } }) {
  const words = kind === 'make' ? 'Making a backup' : 'Verifying a backup';
  if (state === 'running') return html`<p role="status">${words}…</p>`;
  if (state === 'done') return null;
  return html`<div class="notice bad">${words}: ${error ?? 'its server is gone'}</div>`;
}
