/** One app: its tables as a diagram, its manifest, and what is retired. */
import { html } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { A } from '../../core/router.js';
import { describe, findApp } from '../../core/store.js';
import { Head, Loaded, confirm, fail, toast, useLoad } from '../../core/ui.js';
import { pretty } from '../../core/json.js';
import { Diagram } from './diagram.js';
import { Installs } from './installs.js';
import { Manifest } from './manifest.js';

export function AppDetail({ id, tab = 'tables', query }) {
  const app = useLoad(() => describe(id), [id]);
  const tabs = [
    ['tables', 'Tables'],
    ['manifest', 'Manifest'],
    ['history', 'History'],
    ['retired', 'Retired'],
  ];
  const admin = findApp(id)?.admin;
  return html`<${Loaded} of=${app}>
    ${(
      found,
    ) => html`<nav class="crumbs" aria-label="Where this is"><${A} to=${['apps']}>Apps<//></nav>
      <${Head}
        title=${found.name}
        sub=${html`<code>${id}</code> · version ${found.version}`}
        request=${{ method: 'GET', path: url`/api/v1/apps/${id}` }}
      />
      <nav class="tabs" aria-label="Parts of the app">
        ${tabs
          .filter(([name]) => admin || name === 'tables')
          .map(
            ([name, title]) => html`<${A}
              key=${name}
              to=${['apps', id, name]}
              aria-current=${tab === name ? 'page' : undefined}
            >
              ${title}
            <//>`,
          )}
      </nav>
      ${tab === 'tables' && html`<${Diagram} app=${found} />`}
      ${tab === 'manifest' && html`<${Stored} id=${id} stamp=${query.stamp} />`}
      ${tab === 'history' && html`<${Installs} id=${id} stamp=${query.stamp} />`}
      ${tab === 'retired' && html`<${Retired} id=${id} />`}`}
  <//>`;
}

/** The manifest as it is installed, or as it once was. */
function Stored({ id, stamp }) {
  const path = stamp
    ? url`/api/v1/apps/${id}/manifests/${stamp}`
    : url`/api/v1/apps/${id}/manifest`;
  const manifest = useLoad(() => get(path), [path]);
  return html`<${Loaded} of=${manifest}>
    ${(found) => html`<${Manifest} text=${pretty(found)} />`}
  <//>`;
}

/** Tables and columns that the manifest no longer names: kept until they are dropped here. */
function Retired({ id }) {
  const path = url`/api/v1/apps/${id}/schema/prune`;
  const found = useLoad(() => post(path, { dryRun: true }), [id]);
  const drop = async (item) => {
    const what = item.column ? `${item.entity}.${item.column}` : item.entity;
    if (
      !(await confirm(
        `Drop ${what} for good?`,
        `${item.rows} rows have a value in it. This cannot be undone.`,
        { yes: 'Drop', typed: what },
      ))
    )
      return;
    try {
      await post(path, { entity: item.entity, ...(item.column ? { column: item.column } : {}) });
      toast(`${what} was dropped.`);
      found.reload();
    } catch (error) {
      fail(error);
    }
  };
  return html`<p class="dim">
      What a manifest no longer names is hidden and kept: it comes back with its data when a
      manifest names it again.
    </p>
    <${Loaded} of=${found}>
      ${({ dropped }) =>
        dropped.length
          ? html`<table class="list">
            <thead>
              <tr><th>Table</th><th>Column</th><th class="num">Rows with a value</th><th /></tr>
            </thead>
            <tbody>
              ${dropped.map(
                (d) => html`<tr key=${d.entity + d.column}>
                  <td>${d.entity}</td>
                  <td>${d.column ?? html`<span class="dim">whole table</span>`}</td>
                  <td class="num">${d.rows}</td>
                  <td class="right">
                    <button class="small" onClick=${() => drop(d)}>Drop…</button>
                  </td>
                </tr>`,
              )}
            </tbody>
          </table>`
          : html`<p>Nothing is retired.</p>`}
    <//>`;
}
