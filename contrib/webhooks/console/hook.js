/** One webhook: what it sends where, how that goes, and what can be done about it. */
import { State } from './webhooks.js';
import { editHook, showSecret } from './form.js';

const STATES = ['pending', 'delivered', 'failed'];
const TONES = { pending: 'info', delivered: 'good', failed: 'bad' };
/** Deliveries that a page shows. */
const PAGE = 50;

export function HookPage({ kit, app, hookId, place }) {
  const { html, url, useLoad, useState, Head, Loaded, A } = kit;
  const path = url`/api/v1/apps/${app.id}/webhooks/${hookId}`;
  const loaded = useLoad(() => kit.get(path), [path]);
  const [round, setRound] = useState(0);
  const reload = () => {
    loaded.reload();
    setRound((number) => number + 1);
  };
  return html`<${Loaded} of=${loaded}>
    ${(hook) => html`<p class="crumbs"><${A} to=${place}>Webhooks of ${app.name}<//></p>
      <${Head} title=${hook.name} request=${{ method: 'GET', path }}>
        <${Tools} kit=${kit} app=${app} hook=${hook} path=${path} place=${place} reload=${reload} />
      <//>
      <div class="stack">
        <${Trouble} kit=${kit} hook=${hook} />
        <${Facts} kit=${kit} hook=${hook} />
        <${Deliveries} kit=${kit} app=${app} path=${path} round=${round} />
      </div>`}
  <//>`;
}

function Tools({ kit, app, hook, path, place, reload }) {
  const { html, attempt, toast, confirm, post, patch, remove, icon } = kit;
  const test = () =>
    attempt(async () => {
      const answer = await post(`${path}/test`);
      if (answer.status === null) {
        toast(`No answer: ${answer.error}`, { kind: 'bad' });
      } else {
        const detail = answer.body.slice(0, 200);
        const isTaken = answer.status >= 200 && answer.status < 300;
        const kind = isTaken ? 'ok' : 'bad';
        toast(`The receiver answered ${answer.status} in ${answer.ms} ms.`, { kind, detail });
      }
    });
  const enable = (enabled) =>
    attempt(async () => {
      await patch(path, { enabled });
      toast(enabled ? 'Enabled.' : 'Disabled: events wait.');
      reload();
    });
  const edit = async () => {
    if (await editHook(kit, app, hook)) reload();
  };
  const rotate = async () => {
    const text = 'The present secret signs beside the new one for 24 hours.';
    const isSure = await confirm('Make a new secret?', text, { yes: 'Make', danger: false });
    if (!isSure) return;
    await attempt(async () => {
      const { secret } = await post(`${path}/rotate`);
      await showSecret(kit, hook.name, secret);
    });
  };
  const replay = async () => {
    const since = await askSince(kit);
    if (!since) return;
    await attempt(async () => {
      const { queued } = await post(`${path}/replay`, { since });
      toast(`${queued} deliveries wait again.`);
      reload();
    });
  };
  const drop = async () => {
    const text = 'Its deliveries go with it, also those that wait.';
    const isSure = await confirm(`Delete “${hook.name}”?`, text, { yes: 'Delete' });
    if (!isSure) return;
    await attempt(async () => {
      await remove(path);
      toast('Webhook deleted.');
      kit.go(place);
    });
  };
  return html`<button onClick=${test}>${icon('play')}Send a test</button>
    <button onClick=${replay}>Replay…</button>
    <button onClick=${rotate}>New secret…</button>
    <button onClick=${edit}>${icon('edit')}Edit…</button>
    <button onClick=${() => enable(!hook.enabled)}>${hook.enabled ? 'Disable' : 'Enable'}</button>
    <button class="quiet icon" aria-label=${`Delete ${hook.name}`} onClick=${drop}>
      ${icon('trash')}
    </button>`;
}

/** Why nothing is sent, or what was left out. */
function Trouble({ kit, hook }) {
  const { html } = kit;
  if (!hook.reason) return null;
  const title = hook.enabled ? 'Something was left out.' : 'The server has disabled this webhook.';
  return html`<div class="notice warn" role="status"><b>${title}</b> <span>${hook.reason}</span></div>`;
}

function Facts({ kit, hook }) {
  const { html } = kit;
  const all = html`<span class="dim">all</span>`;
  return html`<dl class="facts card">
    <dt>State</dt>
    <dd><${State} kit=${kit} hook=${hook} /></dd>
    <dt>Sends to</dt>
    <dd><code>${hook.url}</code></dd>
    <dt>Sends</dt>
    <dd><code>${hook.entity}</code>: ${hook.on.join(', ')}</dd>
    <dt>Where</dt>
    <dd>${hook.where ? html`<code>${JSON.stringify(hook.where)}</code>` : all}</dd>
    <dt>Fields</dt>
    <dd>${hook.fields ? html`<code>${hook.fields.join(', ')}</code>` : all}</dd>
    <dt>With the rights of</dt>
    <dd>${hook.as ? html`<code>${hook.as}</code>` : html`<span class="dim">an admin</span>`}</dd>
  </dl>`;
}

function Deliveries({ kit, app, path, round }) {
  const { html, useLoad, useState, Loaded, Empty } = kit;
  const [state, setState] = useState('');
  const [pages, setPages] = useState([]);
  const before = pages.at(-1);
  const query = { limit: PAGE, ...(state && { state }), ...(before && { before }) };
  const list = useLoad(() => kit.get(`${path}/deliveries`, query), [path, round, state, before]);
  const choose = (event) => {
    setPages([]);
    setState(event.target.value);
  };
  return html`<section class="stack">
    <div class="row">
      <h2 class="grow">Deliveries</h2>
      <select aria-label="State" onChange=${choose}>
        <option value="">all states</option>
        ${STATES.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
      <button onClick=${list.reload}>${kit.icon('refresh')}Reload</button>
    </div>
    <${Loaded} of=${list}>
      ${(rows) => html`
        ${
          rows.length
            ? html`<${DeliveryTable} kit=${kit} app=${app} path=${path} rows=${rows} reload=${list.reload} />`
            : html`<${Empty} title="No deliveries" glyph="inbox">
              They appear when a record changes.
            <//>`
        }
        <div class="actions">
          ${before && html`<button onClick=${() => setPages(pages.slice(0, -1))}>Newer</button>`}
          ${
            rows.length === PAGE &&
            html`<button onClick=${() => setPages([...pages, rows.at(-1).id])}>Older</button>`
          }
        </div>`}
    <//>
  </section>`;
}

function DeliveryTable({ kit, app, path, rows, reload }) {
  const { html, attempt, toast, post } = kit;
  const retry = (row) =>
    attempt(async () => {
      await post(`${path}/deliveries/${encodeURIComponent(row.id)}/retry`);
      toast('It is sent again.');
      reload();
    });
  return html`<div class="scrollx">
    <table class="list">
      <thead>
        <tr>
          <th>Changed</th><th>Event</th><th>Record</th><th>State</th><th class="num">Attempts</th>
          <th>Last answer</th><th>Next</th><th />
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) => html`<${Delivery}
            key=${row.id}
            kit=${kit}
            app=${app}
            row=${row}
            retry=${() => retry(row)}
          />`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Delivery({ kit, app, row, retry }) {
  const { html, A, Ago } = kit;
  const record = html`<code>${row.record}</code>`;
  const isThere = row.event !== 'leave';
  return html`<tr>
    <td class="nowrap" title=${row.id}><${Ago} at=${row.at} /></td>
    <td>${row.event}</td>
    <td>
      ${isThere ? html`<${A} to=${['record', app.id, row.entity, row.record]}>${record}<//>` : record}
    </td>
    <td><span class=${`tag ${TONES[row.state]}`}>${row.state}</span></td>
    <td class="num">${row.attempts}</td>
    <td>${row.error ?? row.status ?? html`<span class="dim">none</span>`}</td>
    <td class="nowrap"><${Next} kit=${kit} row=${row} /></td>
    <td class="right">
      <button class="small" onClick=${retry}>${row.state === 'pending' ? 'Send now' : 'Send again'}</button>
    </td>
  </tr>`;
}

function Next({ kit, row }) {
  const { html, Ago } = kit;
  if (row.state !== 'pending') return html`<span class="dim">–</span>`;
  if (!row.next_at) return html`<span class="dim">after the one before it</span>`;
  return html`<${Ago} at=${row.next_at} />`;
}

/** Ask from when on events are sent again. Resolves with a time, or nothing. */
function askSince(kit) {
  const { html, openDialog, useState, Input } = kit;
  const content = ({ close }) => {
    const [time, setTime] = useState('');
    const submit = (event) => {
      event.preventDefault();
      close(new Date(time).toISOString());
    };
    return html`<form class="stack" onSubmit=${submit}>
      <h2>Replay</h2>
      <p>Every event since then is sent once more, with the same ids.</p>
      <${Input}
        title="Since"
        type="datetime-local"
        required
        autofocus
        value=${time}
        onInput=${(event) => setTime(event.target.value)}
      />
      <div class="actions">
        <button type="button" onClick=${() => close()}>Cancel</button>
        <button class="primary">Replay</button>
      </div>
    </form>`;
  };
  return openDialog(content, { label: 'Replay' });
}
