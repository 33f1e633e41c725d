/** Plugins: what each provides, needs and costs. */
import { html } from '../../core/kit.js';
import { get } from '../../core/api.js';
import { A } from '../../core/router.js';
import { Head } from '../../core/screen.js';
import { Empty, Loaded, useLoad } from '../../core/ui.js';
import { COLOURS, PluginDetail, addUp, writeMilliseconds } from './plugin.js';

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
  <div class="scrollx">
    <table class="list">
      <thead>
        <tr>
          <th>Name</th>
          <th>State</th>
          <th>From</th>
          <th>Provides</th>
          <th class="num">Routes</th>
          <th class="num">Hook calls</th>
          <th class="num">Slowest p99</th>
          <th class="num">Errors</th>
        </tr>
      </thead>
      <tbody>
        ${plugins.map((plugin) => html`<${PluginRow} key=${plugin.name} plugin=${plugin} />`)}
      </tbody>
    </table>
  </div>`;

function PluginRow({ plugin }) {
  const { name, state, origin, provides, routes, hooks, tasks } = plugin;
  const calls = addUp(hooks, 'calls');
  const slowest = Math.max(0, ...hooks.map((hook) => hook.p99_ms ?? 0));
  const errors = addUp(hooks, 'errors') + addUp(tasks, 'failures');
  return html`<tr>
    <td><${A} to=${['plugins', name]}><b>${name}</b><//></td>
    <td><span class="tag ${COLOURS[state]}">${state}</span></td>
    <td class="dim">${origin}</td>
    <td>${provides.join(', ')}</td>
    <td class="num">${routes.length || ''}</td>
    <td class="num">${calls || ''}</td>
    <td class="num">${slowest > 0 && writeMilliseconds(slowest)}</td>
    <td class="num">${errors > 0 && html`<span class="tag bad">${errors}</span>`}</td>
  </tr>`;
}
