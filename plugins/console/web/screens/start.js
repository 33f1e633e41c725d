/** The first app of a new server: the CRM example, or a manifest to paste. */
import { html, useState } from '../core/kit.js';
import { post } from '../core/api.js';
import { parse, pretty } from '../core/json.js';
import { go } from '../core/router.js';
import { loadApps, readable, findApp } from '../core/store.js';
import { ErrorBox, Head, icon } from '../core/ui.js';

export default function Start() {
  const [state, set] = useState({});
  const [pasting, paste] = useState(false);
  const run = (work) => async () => {
    set({ busy: true });
    try {
      await work();
    } catch (error) {
      set({ error });
    }
  };
  const example = run(async () => {
    const { manifest, records } = await import('./example.js');
    await post('/api/v1/apps', manifest);
    await records(manifest.appId);
    await loadApps();
    go(['data', 'crm', 'deals']);
  });
  return html`<div class="start">
    <${Head}
      title="What should this server do first?"
      sub="An app is a manifest: its tables, fields and permissions. Tables, an API, roles, history and this console follow from it."
      request=${{ method: 'POST', path: '/api/v1/apps', body: {} }}
    />
    <div class="cards">
      <button class="card offer" disabled=${state.busy} onClick=${example}>
        ${icon('users')}
        <b>Try the CRM example</b>
        <span class="dim">Companies, contacts, deals and activities, with sample records.</span>
      </button>
      <button class="card offer" disabled=${state.busy} onClick=${() => paste(true)}>
        ${icon('code')}
        <b>Paste a manifest</b>
        <span class="dim">Install an app that you have described in JSON.</span>
      </button>
    </div>
    ${state.busy && html`<p class="dim" role="status">Installing…</p>`}
    <${ErrorBox} error=${state.error} />
    ${pasting && html`<${Paste} />`}
    <p><button class="link" onClick=${() => go([])}>Not now</button></p>
  </div>`;
}

const SAMPLE = pretty({
  appId: 'library',
  name: 'Library',
  dataContract: [
    {
      entityName: 'books',
      fields: [
        { name: 'title', type: 'text', required: true },
        { name: 'pages', type: 'number' },
        { name: 'lent_until', type: 'date' },
      ],
    },
  ],
});

function Paste() {
  const [text, setText] = useState(SAMPLE);
  const [error, setError] = useState(null);
  const install = async (e) => {
    e.preventDefault();
    setError(null);
    try {
      const manifest = parse(text);
      const { appId } = manifest;
      await post('/api/v1/apps', manifest);
      await loadApps();
      const app = findApp(appId);
      go(app && readable(app).length ? ['data', appId, readable(app)[0]] : ['apps', appId]);
    } catch (e2) {
      setError(e2 instanceof SyntaxError ? new Error(`This is not JSON: ${e2.message}`) : e2);
    }
  };
  return html`<form onSubmit=${install} class="stack">
    <label class="field">
      <span>Manifest</span>
      <textarea
        class="mono"
        rows="14"
        spellcheck=${false}
        autofocus
        value=${text}
        onInput=${(e) => setText(e.target.value)}
      />
    </label>
    <${ErrorBox} error=${error} />
    <div><button class="primary">Install</button></div>
  </form>`;
}
