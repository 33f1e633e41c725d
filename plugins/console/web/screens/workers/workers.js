/** The worker of an app: its state, its replicas, starting and stopping it. */
import { html } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { formatJson } from '../../core/json.js';
import { A } from '../../core/router.js';
import { CopyAs, Head, useEvery } from '../../core/screen.js';
import { findApp } from '../../core/store.js';
import { Loaded, attempt, icon, toast, useLoad } from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';
import { shortenId } from '../../parts/titles.js';
import { Deploy, Versions } from './deploy.js';
import { Rpc } from './rpc.js';

const PAUSE = 5000;
const COLOURS = {
  running: 'good',
  starting: 'info',
  stopping: 'warn',
  stopped: '',
  crashed: 'bad',
};
const UP = ['running', 'starting'];

export default function Workers({ parts: [appId] }) {
  return html`<${WithApp} screen="workers" appId=${appId}>
    ${(id, picker) => html`<${Screen} key=${id} appId=${id} picker=${picker} />`}
  <//>`;
}

function Screen({ appId, picker }) {
  const path = url`/api/v1/apps/${appId}`;
  const statusPath = `${path}/worker/status`;
  const isAdmin = findApp(appId)?.admin;
  const status = useLoad(() => get(statusPath), [appId]);
  useEvery(PAUSE, status.reload, [appId]);
  const act = async (verb) => {
    await attempt(async () => {
      const reply = await post(`${path}/worker/${verb}`);
      toast(reply.message);
    });
    status.reload();
  };
  return html`<${Head}
      title="Worker"
      sub="The app's own code: every server process that serves the app runs a replica of it."
    >
      ${picker}
      <${CopyAs} request=${{ method: 'GET', path: statusPath }} />
    <//>
    <${Loaded} of=${status}>
      ${(worker) => html`<div class="split">
        <div class="stack">
          <section class="card">
            <${StateLine} appId=${appId} worker=${worker} act=${isAdmin && act} />
            ${worker.replicas > 0 && html`<${Replicas} path=${path} worker=${worker} />`}
            <${Limits} limits=${worker.sandbox ?? {}} />
          </section>
          ${worker.status === 'running' && html`<${Rpc} path=${path} />`}
        </div>
        <aside class="stack">
          ${
            isAdmin &&
            html`<${Deploy} path=${path} done=${status.reload} />
              <${Versions} path=${path} current=${worker.version} done=${status.reload} />`
          }
        </aside>
      </div>`}
    <//>`;
}

/** @param {{appId: string, worker: any, act: ((verb: string) => void)|false}} props */
function StateLine({ appId, worker, act }) {
  const { status, replicas, version } = worker;
  const noun = replicas === 1 ? 'replica' : 'replicas';
  const versionText = version ? `version ${version}` : 'nothing is deployed';
  return html`<div class="row">
    <span class="tag ${COLOURS[status]}">${status}</span>
    <span class="grow dim">${replicas} ${noun} · ${versionText}</span>
    ${act && html`<${Control} worker=${worker} act=${act} />`}
    <${A} class="button" to=${['logs', appId]}>${icon('log')}Log<//>
  </div>`;
}

function Control({ worker, act }) {
  const isUp = UP.includes(worker.status);
  if (isUp) return html`<button onClick=${() => act('stop')}>${icon('stop')}Stop</button>`;
  if (!worker.version) return null;
  return html`<button onClick=${() => act('start')}>${icon('play')}Start</button>`;
}

/** The state of the replica in each server process. */
function Replicas({ path, worker }) {
  const key = `${worker.status} ${worker.replicas} ${worker.version}`;
  const list = useLoad(() => get(`${path}/worker/replicas`), [path, key]);
  return html`<table class="list">
    <thead>
      <tr><th>Server process</th><th>State</th><th class="num">Version</th></tr>
    </thead>
    <tbody>
      ${(list.data ?? []).map(
        (replica) => html`<tr key=${replica.server_id}>
          <td><code title=${replica.server_id}>${shortenId(replica.server_id)}</code></td>
          <td><span class="tag ${COLOURS[replica.state]}">${replica.state}</span></td>
          <td class="num">${replica.version ?? '–'}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

/** What the sandbox of the worker allows. */
function Limits({ limits }) {
  const names = Object.keys(limits);
  if (!names.length) return null;
  const set = Object.entries(limits).filter(([, limit]) => limit !== null);
  return html`<h3>Limits</h3>
    <dl class="facts">
      ${set.map(
        ([name, limit]) => html`<dt key=${name}>${name.replaceAll('_', ' ')}</dt>
          <dd>${typeof limit === 'object' ? formatJson(limit) : String(limit)}</dd>`,
      )}
    </dl>`;
}
