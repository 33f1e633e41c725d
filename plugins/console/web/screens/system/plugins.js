/** Plugins: what each provides, needs and costs. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { A } from '../../core/router.js';
import { Ago, Head, Listing, useEvery } from '../../core/screen.js';
import { pages } from '../../core/store.js';
import { Empty, Loaded, attempt, useLoad } from '../../core/ui.js';
import { Spark } from '../../parts/chart.js';
import { Markdown } from '../../parts/markdown.js';

const countOf = (title) => [title, 'num'];
const HEADS = [
  ...['Name', 'State', 'From', 'Provides'],
  ...['Routes', 'Hook calls', 'Slowest p99', 'Errors'].map(countOf),
];
const NUMBERS = ['Calls', 'p50', 'p99', 'Refusals', 'Errors'].map(countOf);

export default function Plugins({ parts: [name] }) {
  const loaded = useLoad(() => get('/api/v1/plugins'), []);
  return html`<${Loaded} of=${loaded}>
    ${({ plugins, process }) => {
      if (!name) return html`<${List} plugins=${plugins} process=${process} />`;
      const plugin = plugins.find((candidate) => candidate.name === name);
      if (!plugin) return html`<${Empty} title="There is no such plugin" glyph="plug" />`;
      return html`<${PluginDetail} key=${name} plugin=${plugin} />`;
    }}
  <//>`;
}

const List = ({ plugins, process }) => html`<${Head}
    title="Plugins"
    sub=${`As process ${process} sees them. A plugin is switched on or off in the configuration: [plugins.<name>] enabled = false.`}
    request=${{ method: 'GET', path: '/api/v1/plugins' }}
  />
  <${Listing} heads=${HEADS}>
    ${plugins.map((plugin) => html`<${PluginRow} key=${plugin.name} plugin=${plugin} />`)}
  <//>`;

function PluginRow({ plugin }) {
  const { name, state, origin, provides, routes, hooks, tasks } = plugin;
  const calls = addUp(hooks, 'calls');
  const slowest = Math.max(0, ...hooks.map((hook) => hook.p99_ms ?? 0));
  const errors = addUp(hooks, 'errors') + addUp(tasks, 'failures');
  return html`<tr>
    <td class="nowrap"><${A} to=${['plugins', name]}><b>${name}</b><//></td>
    <td><span class="tag ${COLOURS[state]}">${state}</span></td>
    <td class="dim nowrap">${origin}</td>
    <td>${provides.join(', ')}</td>
    <td class="num">${routes.length || ''}</td>
    <td class="num">${calls || ''}</td>
    <td class="num">${slowest > 0 && writeMilliseconds(slowest)}</td>
    <td class="num">${errors > 0 && html`<span class="tag bad">${errors}</span>`}</td>
  </tr>`;
}

// --- the page of a plugin, from what the kernel knows: README, hooks with costs, routes, settings

export const COLOURS = { on: 'good', off: '', degraded: 'bad' };
/** Milliseconds between two looks at the calls, and how many looks the line shows. */
const PAUSE = 5000;
const LOOKS = 30;

/** The sum of a member over a list. */
export const addUp = (list, name) => list.reduce((sum, item) => sum + item[name], 0);
export const writeMilliseconds = (value) => (value === null ? '–' : `${value} ms`);

/** Calls of a plugin's hooks in each of the last five seconds, while the page is open. */
function useCalls(name) {
  const [counts, setCounts] = useState([]);
  const totalBefore = useRef(null);
  const look = async () => {
    const { plugins } = await get('/api/v1/plugins').catch(() => ({ plugins: [] }));
    const plugin = plugins.find((candidate) => candidate.name === name);
    if (!plugin) return;
    const total = addUp(plugin.hooks, 'calls');
    const before = totalBefore.current;
    totalBefore.current = total;
    if (before !== null) setCounts((shown) => [...shown.slice(1 - LOOKS), total - before]);
  };
  useEffect(() => {
    look();
  }, [name]);
  useEvery(PAUSE, look, [name]);
  return counts;
}

export function PluginDetail({ plugin }) {
  const { name, state, origin, version, hooks, routes, tasks, settings } = plugin;
  const path = url`/api/v1/console/manuals/${name}`;
  const manual = useLoad(() => get(path), [name]);
  const start = Math.round(plugin.boot_seconds * 1000);
  const warnings = [plugin.note, ...plugin.warnings].filter(Boolean);
  const { text, migrations = [] } = manual.data ?? {};
  return html`<nav class="crumbs" aria-label="Where this is">
      <${A} to=${['plugins']}>Plugins<//>
    </nav>
    <${Head}
      title=${name}
      sub=${`${origin} · version ${version} · started in ${start} ms`}
      request=${{ method: 'GET', path }}
    >
      <span class="tag ${COLOURS[state]}">${state}</span>
    <//>
    ${warnings.map((warning) => html`<div class="notice warn">${warning}</div>`)}
    <div class="split">
      <div class="stack">
        ${hooks.length > 0 && html`<${Hooks} name=${name} hooks=${hooks} />`}
        ${routes.length > 0 && html`<${Routes} routes=${routes} />`}
        ${tasks.length > 0 && html`<${Tasks} tasks=${tasks} />`}
        ${text && html`<section class="card"><${Markdown} text=${text} /></section>`}
      </div>
      <aside class="stack">
        <${About} plugin=${plugin} migrations=${migrations} />
        ${settings.length > 0 && html`<${Settings} plugin=${plugin} />`}
        <${Switch} plugin=${plugin} />
        <${Pages} name=${name} />
      </aside>
    </div>`;
}

function Hooks({ name, hooks }) {
  const calls = useCalls(name);
  return html`<section>
    <div class="row">
      <h2 class="grow">Hooks</h2>
      ${calls.length > 1 && html`<small>${calls.at(-1)} calls in 5 s</small>`}
      <${Spark} values=${calls} title="Calls in each five seconds" />
    </div>
    <${Listing} heads=${['Hook', ...NUMBERS, 'Last error']} tabindex="0">
      ${hooks.map((hook) => html`<${Hook} key=${hook.hook} hook=${hook} />`)}
    <//>
  </section>`;
}

function Hook({ hook }) {
  const lastError = hook.last_error;
  return html`<tr>
    <td class="nowrap"><code>${hook.hook}</code></td>
    <td class="num">${hook.calls}</td>
    <td class="num">${writeMilliseconds(hook.p50_ms)}</td>
    <td class="num">${writeMilliseconds(hook.p99_ms)}</td>
    <td class="num">${hook.refusals || ''}</td>
    <td class="num">${hook.errors || ''}</td>
    <td>${lastError && html`${lastError.error} <${Ago} at=${lastError.time} />`}</td>
  </tr>`;
}

const Routes = ({ routes }) => html`<section>
  <h2>Routes</h2>
  <${Listing} heads=${['Route', 'Needs']} tabindex="0">
    ${routes.map(
      (route) => html`<tr key=${route.method + route.path}>
        <td><code>${route.method} ${route.path}</code></td>
        <td class="dim">${route.needs}</td>
      </tr>`,
    )}
  <//>
</section>`;

const Tasks = ({ tasks }) => html`<section>
  <h2>Background tasks</h2>
  <table class="list">
    <tbody>
      ${tasks.map(
        (task) => html`<tr key=${task.name}>
          <td>${task.name}</td>
          <td><span class="tag ${task.failures ? 'bad' : ''}">${task.state}</span></td>
          <td>${task.error}</td>
        </tr>`,
      )}
    </tbody>
  </table>
</section>`;

const About = ({ plugin, migrations }) => html`<section class="card">
  <h2>About</h2>
  <dl class="facts">
    <${Names} title="Provides" names=${plugin.provides} />
    <${Names} title="Requires" names=${plugin.requires} />
    <${Names} title="Uses" names=${plugin.uses} />
    <${Names} title="Migrations" names=${migrations} />
  </dl>
</section>`;

function Names({ title, names }) {
  if (!names.length) return null;
  return html`<dt>${title}</dt>
    <dd>${names.map((name) => html`<code key=${name}>${name}</code> `)}</dd>`;
}

const Settings = ({ plugin }) => html`<section class="card">
  <h2>Settings</h2>
  <p class="dim">Of <code>[plugins.${plugin.name}]</code></p>
  <ul class="plain">
    ${plugin.settings.map(
      (name) => html`<li class="row" key=${name}>
        <code class="grow">${name}</code>
        <${Origin} plugin=${plugin} setting=${name} />
      </li>`,
    )}
  </ul>
</section>`;

/** Where the value of a setting comes from. */
function Origin({ plugin, setting }) {
  const isConfigured = plugin.configured.includes(setting);
  if (!isConfigured) return html`<span class="dim">default</span>`;
  return html`<span class="tag info" title="Where the value comes from">
    ${plugin.sources[setting] || 'configured'}
  </span>`;
}

/** What switching the plugin would do; the switch itself is a line of the configuration. */
function Switch({ plugin }) {
  const isOn = plugin.state !== 'off';
  const showPlan = () =>
    attempt(async () => {
      const change = isOn ? { disable: [plugin.name] } : { enable: [plugin.name] };
      const plan = await post('/api/v1/plugins/plan', change);
      const content = ({ close }) => html`<${Plan} plan=${plan} close=${close} />`;
      openDialog(content, { label: 'Plan', wide: true });
    });
  return html`<section class="card stack">
    <h2>${isOn ? 'Switch it off' : 'Switch it on'}</h2>
    <pre>${`[plugins.${plugin.name}]\nenabled = ${!isOn}`}</pre>
    <div><button onClick=${showPlan}>Show what would change</button></div>
  </section>`;
}

/** First words of the lines of a plan, by how grave they are. */
const WORDS = { removed: 'bad', added: 'good', created: 'good', warn: 'warn', reason: 'bad' };

const Plan = ({ plan, close }) => html`<h2>
    ${plan.starts ? 'The server would start' : 'The server would not start'}
  </h2>
  <ul class="plain plan">
    ${plan.lines.map((line) => html`<li key=${line}><${PlanLine} line=${line} /></li>`)}
  </ul>
  <div class="actions"><button autofocus onClick=${() => close()}>Close</button></div>`;

function PlanLine({ line }) {
  const match = /^(\w+) {2,}(.*)/.exec(line);
  if (!match) return line;
  const [, word, text] = match;
  return html`<span class="tag ${WORDS[word] ?? ''}">${word}</span> ${text}`;
}

/** The pages that the plugin adds to the console. */
function Pages({ name }) {
  const listed = pages.value.filter((page) => page.plugin === name);
  if (!listed.length) return null;
  return html`<section class="card">
    <h2>Pages</h2>
    ${listed.map(
      (page) => html`<div key=${page.id}>
        <${A} to=${['pages', page.plugin, page.id]}>${page.title}<//>
      </div>`,
    )}
  </section>`;
}
