/** The worker of an app: its state, deploying by drop, and a form to call its methods. */
import { html, useEffect, useState } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { parse, pretty } from '../../core/json.js';
import { A } from '../../core/router.js';
import { findApp } from '../../core/store.js';
import {
  ErrorBox,
  Head,
  Loaded,
  fail,
  icon,
  toast,
  useLoad,
  CopyAs,
  Ago,
  confirm,
} from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';

const COLOURS = {
  running: 'good',
  starting: 'info',
  stopping: 'warn',
  stopped: '',
  crashed: 'bad',
};

export default function Workers({ parts: [appId] }) {
  return html`<${WithApp} screen="workers" appId=${appId}>
    ${(id, picker) => html`<${Screen} key=${id} appId=${id} picker=${picker} />`}
  <//>`;
}

function Screen({ appId, picker }) {
  const base = url`/api/v1/apps/${appId}`;
  const admin = findApp(appId)?.admin;
  const status = useLoad(() => get(`${base}/worker/status`), [appId]);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) status.reload();
    }, 5000);
    return () => clearInterval(timer);
  }, [appId]);
  const act = (verb) => async () => {
    try {
      toast((await post(`${base}/worker/${verb}`)).message);
    } catch (error) {
      fail(error);
    }
    status.reload();
  };
  return html`<${Head}
      title="Worker"
      sub="The app's own code: every server process that serves the app runs a replica of it."
    >
      ${picker}
      <${CopyAs} request=${{ method: 'GET', path: `${base}/worker/status` }} />
    <//>
    <${Loaded} of=${status}>
      ${(s) => html`<div class="split">
        <div class="stack">
          <section class="card">
            <div class="row">
              <span class="tag ${COLOURS[s.status]}">${s.status}</span>
              <span class="grow dim">
                ${s.replicas} ${s.replicas === 1 ? 'replica' : 'replicas'}
                ${s.version ? ` · version ${s.version}` : ' · nothing is deployed'}
              </span>
              ${
                admin &&
                (s.status === 'running' || s.status === 'starting'
                  ? html`<button onClick=${act('stop')}>${icon('stop')}Stop</button>`
                  : s.version &&
                    html`<button onClick=${act('start')}>${icon('play')}Start</button>`)
              }
              <${A} class="button" to=${['logs', appId]}>${icon('log')}Log<//>
            </div>
            ${s.replicas > 0 && html`<${Replicas} base=${base} status=${s} />`}
            ${
              Object.keys(s.sandbox ?? {}).length > 0 &&
              html`<h3>Limits</h3>
                <dl class="facts">
                  ${Object.entries(s.sandbox)
                    .filter(([, v]) => v !== null)
                    .map(
                      ([k, v]) => html`<dt key=${k}>${k.replaceAll('_', ' ')}</dt>
                      <dd>${typeof v === 'object' ? pretty(v) : String(v)}</dd>`,
                    )}
                </dl>`
            }
          </section>
          ${s.status === 'running' && html`<${Rpc} base=${base} />`}
        </div>
        <aside class="stack">
          ${
            admin &&
            html`<${Deploy} base=${base} done=${status.reload} />
              <${Versions} base=${base} version=${s.version} done=${status.reload} />`
          }
        </aside>
      </div>`}
    <//>`;
}

/** The state of the replica in each server process. */
function Replicas({ base, status }) {
  const key = `${status.status} ${status.replicas} ${status.version}`;
  const list = useLoad(() => get(`${base}/worker/replicas`), [base, key]);
  return html`<table class="list">
    <thead><tr><th>Server process</th><th>State</th><th class="num">Version</th></tr></thead>
    <tbody>
      ${(list.data ?? []).map(
        (r) => html`<tr key=${r.server_id}>
          <td><code title=${r.server_id}>${r.server_id.slice(0, 8)}</code></td>
          <td><span class="tag ${COLOURS[r.state]}">${r.state}</span></td>
          <td class="num">${r.version ?? '–'}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

/** Versions that are kept; an earlier one can be put back. */
function Versions({ base, version, done }) {
  const list = useLoad(() => get(`${base}/worker/versions`), [base, version]);
  if (!list.data?.length) return null;
  const back = async (number) => {
    const text = 'Calls go to it when it answers; the version that runs now is kept.';
    if (!(await confirm(`Go back to version ${number}?`, text, { yes: 'Go back' }))) return;
    try {
      toast((await post(`${base}/worker/rollback`, { version: number })).message);
    } catch (error) {
      fail(error);
    }
    list.reload();
    done();
  };
  return html`<section class="card">
    <h2>Versions</h2>
    <ul class="plain">
      ${list.data.map(
        (v) => html`<li class="row" key=${v.version}>
          <b>${v.version}</b>
          <span class="grow dim" title=${`SHA-256 ${v.sha256}`}>
            <${Ago} at=${v.at} />, ${Math.ceil(v.size / 1000)} kB
          </span>
          ${
            v.in_service
              ? html`<span class="tag good">in service</span>`
              : html`<button class="small" onClick=${() => back(v.version)}>Go back to it</button>`
          }
        </li>`,
      )}
    </ul>
  </section>`;
}

/** Drop a .tar.gz; the running version goes on until the new one answers. */
function Deploy({ base, done }) {
  const [state, set] = useState({});
  const send = async (file) => {
    if (!file) return;
    set({ busy: file.name });
    const form = new FormData();
    form.append('archive', file);
    try {
      toast((await post(`${base}/deploy`, form)).message);
      set({});
    } catch (error) {
      set({ error });
    }
    done();
  };
  const drop = (e) => {
    e.preventDefault();
    set({});
    send(e.dataTransfer.files[0]);
  };
  return html`<section class="card stack">
    <h2>Deploy</h2>
    <label
      class="drop ${state.over ? 'over' : ''}"
      onDragOver=${(e) => {
        e.preventDefault();
        if (!state.over) set({ over: true });
      }}
      onDragLeave=${() => set({})}
      onDrop=${drop}
    >
      ${icon('upload')}
      <span>
        ${
          state.busy
            ? `Deploying ${state.busy}…`
            : html`Drop a <code>.tar.gz</code> or <u>choose one</u>`
        }
      </span>
      <input
        type="file"
        class="hide"
        accept=".gz,.tgz"
        aria-label="Archive"
        disabled=${Boolean(state.busy)}
        onChange=${(e) => {
          send(e.target.files[0]);
          e.target.value = '';
        }}
      />
    </label>
    <p class="dim">
      With <code>worker.py</code>, <code>main.py</code> or <code>index.js</code> at its top. A
      version that does not come up is rolled back.
    </p>
    <${ErrorBox} error=${state.error} />
  </section>`;
}

function Rpc({ base }) {
  const [form, set] = useState({ method: '', params: '{}' });
  const [state, setState] = useState({});
  const submit = async (e) => {
    e.preventDefault();
    setState({ busy: true });
    const began = performance.now();
    try {
      const value = await post(`${base}/rpc`, {
        method: form.method,
        params: parse(form.params || '{}'),
      });
      setState({ value: pretty(value), took: Math.round(performance.now() - began) });
    } catch (error) {
      setState({ error });
    }
  };
  return html`<form class="card stack" onSubmit=${submit}>
    <h2>Call a method</h2>
    <label class="field">
      <span>Method</span>
      <input
        class="mono"
        required
        value=${form.method}
        onInput=${(e) => set({ ...form, method: e.target.value })}
      />
    </label>
    <label class="field">
      <span>Parameters</span>
      <textarea
        class="mono"
        rows="4"
        value=${form.params}
        onInput=${(e) => set({ ...form, params: e.target.value })}
      />
    </label>
    <div><button class="primary" disabled=${state.busy}>Call</button></div>
    <${ErrorBox} error=${state.error} />
    ${
      state.value !== undefined &&
      html`<div><pre tabindex="0">${state.value}</pre><small>${state.took} ms</small></div>`
    }
  </form>`;
}
