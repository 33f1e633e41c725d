/** The worker of an app: its state, its replicas, starting and stopping it. */
import { html, useState } from '../../core/kit.js';
import { get, getAgain, post, url } from '../../core/api.js';
import { formatJson } from '../../core/json.js';
import { A } from '../../core/router.js';
import { CopyAs, Head, Listing, useEvery } from '../../core/screen.js';
import { findApp } from '../../core/store.js';
import { ErrorBox, Loaded, attempt, icon, toast, useLoad } from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';
import { Deploy, Versions } from '../../parts/releases.js';
import { shortenId } from '../../parts/titles.js';
import { CallFields, WithHandlers, readCall, startCall } from '../../form/control.js';

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
  const status = useLoad(() => getAgain(statusPath), [appId]);
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
          ${worker.status === 'running' && html`<${Rpc} path=${path} version=${worker.version} />`}
        </div>
        <aside class="stack">
          ${
            isAdmin &&
            html`<${DeployWorker} path=${path} done=${status.reload} />
              <${WorkerVersions} path=${path} current=${worker.version} done=${status.reload} />`
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
  return html`<${Listing} heads=${['Server process', 'State', ['Version', 'num']]} tabindex="0">
    ${(list.data ?? []).map(
      (replica) => html`<tr key=${replica.server_id}>
        <td><code title=${replica.server_id}>${shortenId(replica.server_id)}</code></td>
        <td><span class="tag ${COLOURS[replica.state]}">${replica.state}</span></td>
        <td class="num">${replica.version ?? '–'}</td>
      </tr>`,
    )}
  <//>`;
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

/** Drop a .tar.gz; the running version goes on until the new one answers. */
export const DeployWorker = ({
  path,
  done,
}) => html`<${Deploy} path=${`${path}/deploy`} done=${done}>
  With <code>worker.py</code>, <code>main.py</code> or <code>index.js</code> at its top. A version
  that does not come up is rolled back.
<//>`;

/** Versions that are kept; an earlier one can be put back. */
export function WorkerVersions({ path, current, done }) {
  const list = useLoad(() => get(`${path}/worker/versions`), [path, current]);
  if (!list.data?.length) return null;
  const rows = list.data.map(({ version, at, size, in_service, sha256 }) => ({
    number: version,
    at,
    size,
    isCurrent: in_service,
    title: `SHA-256 ${sha256}`,
  }));
  const reload = () => {
    list.reload();
    done();
  };
  return html`<${Versions}
    path=${`${path}/worker/rollback`}
    versions=${rows}
    warning="Calls go to it when it answers; the version that runs now is kept."
    done=${reload}
  />`;
}

/** @param {{path: string, version: number}} props A new version has other handlers. */
export const Rpc = ({ path, version }) => html`<${WithHandlers} key=${version} path=${path}>
  ${({ calls }) => html`<${Form} path=${path} handlers=${calls} />`}
<//>`;

function Form({ path, handlers }) {
  const [call, setCall] = useState(startCall(handlers));
  const [state, setState] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    const start = performance.now();
    try {
      const params = readCall(handlers, call);
      const value = await post(`${path}/rpc`, { method: call.name, params });
      const duration = Math.round(performance.now() - start);
      setState({ text: formatJson(value), duration });
    } catch (error) {
      setState({ error });
    }
  };
  const isAnswered = state.text !== undefined;
  return html`<form class="card stack" onSubmit=${submit}>
    <h2>Call a method</h2>
    <${CallFields} handlers=${handlers} call=${call} change=${setCall} title="Method" />
    <div><button class="primary" disabled=${state.busy}>Call</button></div>
    <${ErrorBox} error=${state.error} />
    ${
      isAnswered &&
      html`<div><pre tabindex="0">${state.text}</pre><small>${state.duration} ms</small></div>`
    }
  </form>`;
}
