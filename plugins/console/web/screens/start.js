/** The first app of a new server: the CRM example, or a manifest to paste. */
import { focusNow, html, useState } from '../core/kit.js';
import { post } from '../core/api.js';
import { formatJson, parse } from '../core/json.js';
import { go } from '../core/router.js';
import { Head } from '../core/screen.js';
import { findFirstPage, loadApps } from '../core/store.js';
import { ErrorBox, Loaded, icon, useLoad } from '../core/ui.js';

export default function Start() {
  const [state, setState] = useState({});
  /** What is begun: a blank table, or a manifest. */
  const [chosen, setChosen] = useState('');
  const installExample = async () => {
    setState({ busy: true });
    try {
      const { createRecords, manifest } = await import('./example.js');
      await post('/api/v1/apps', manifest);
      await createRecords(manifest.appId);
      await loadApps();
      go(['data', 'crm', 'deals']);
    } catch (error) {
      setState({ error });
    }
  };
  return html`<div class="start">
    <${Head}
      title="What should this server do first?"
      sub="Make a table, and an API, roles, history and this console follow from it."
      request=${{ method: 'POST', path: '/api/v1/apps', body: {} }}
    />
    <div class="cards">
      <button class="card offer" disabled=${state.busy} onClick=${() => setChosen('blank')}>
        ${icon('table')}
        <b>Begin with a blank table</b>
        <span class="dim">Name it and its columns; more can be added at any time.</span>
      </button>
      <button class="card offer" disabled=${state.busy} onClick=${() => setChosen('data')}>
        ${icon('upload')}
        <b>Begin with a CSV file</b>
        <span class="dim">Tables, types and links are proposed, then the rows are imported.</span>
      </button>
      <button class="card offer" disabled=${state.busy} onClick=${() => setChosen('examples')}>
        ${icon('copy')}
        <b>Begin with an example</b>
        <span class="dim">Help desk, inventory or time sheet, without records.</span>
      </button>
      <button class="card offer" disabled=${state.busy} onClick=${installExample}>
        ${icon('users')}
        <b>Try the CRM example</b>
        <span class="dim">Companies, contacts, deals and activities, with sample records.</span>
      </button>
      <button class="card offer" disabled=${state.busy} onClick=${() => setChosen('manifest')}>
        ${icon('code')}
        <b>Paste a manifest</b>
        <span class="dim">Install an app that you have described in JSON.</span>
      </button>
    </div>
    ${state.busy && html`<p class="dim" role="status">Installing…</p>`}
    <${ErrorBox} error=${state.error} />
    ${chosen === 'blank' && html`<${Lazy} load=${loadBlank} />`}
    ${chosen === 'data' && html`<${Lazy} load=${loadData} />`}
    ${chosen === 'examples' && html`<${Lazy} load=${loadExamples} />`}
    ${chosen === 'manifest' && html`<${Paste} />`}
    <p><button class="link" onClick=${() => go([])}>Not now</button></p>
  </div>`;
}

const loadBlank = () => import('./builder/newapp.js').then((module) => module.BlankApp);

const loadData = () => import('./builder/fromdata.js').then((module) => module.FromData);
const loadExamples = () => import('./builder/newapp.js').then((module) => module.Examples);

/** A part that is loaded when it is shown. */
function Lazy({ load }) {
  const loaded = useLoad(load, [load]);
  return html`<${Loaded} of=${loaded}>${(Part) => html`<${Part} />`}<//>`;
}

const SAMPLE = formatJson({
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
  const install = async (event) => {
    event.preventDefault();
    setError(null);
    try {
      const manifest = readManifest(text);
      await post('/api/v1/apps', manifest);
      await loadApps();
      go(findFirstPage(manifest.appId));
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form onSubmit=${install} class="stack">
    <label class="field">
      <span>Manifest</span>
      <textarea
        class="mono"
        rows="14"
        spellcheck=${false}
        ref=${focusNow}
        value=${text}
        onInput=${(event) => setText(event.target.value)}
      />
    </label>
    <${ErrorBox} error=${error} />
    <div><button class="primary">Install</button></div>
  </form>`;
}

function readManifest(text) {
  try {
    return parse(text);
  } catch (problem) {
    throw new Error(`This is not JSON: ${problem.message}`);
  }
}
