/** One app: its tables as a diagram, its manifest, its installs, and what is retired. */
import { html } from '../../core/kit.js';
import { get, url } from '../../core/api.js';
import { Head } from '../../core/head.js';
import { formatJson } from '../../core/json.js';
import { A } from '../../core/router.js';
import { apps, describe, features, findApp } from '../../core/store.js';
import { Loaded, useLoad } from '../../core/ui.js';
import { Diagram } from './diagram.js';
import { Frontend } from './frontend.js';
import { Installs } from './installs.js';
import { Manifest } from './manifest.js';
import { Retired } from './retired.js';

/** Parts of an app: what they are called, and what shows them. */
const TABS = {
  tables: { title: 'Tables', show: ({ app }) => html`<${Diagram} app=${app} />` },
  manifest: {
    title: 'Manifest',
    show: ({ app, query }) => html`<${Stored} id=${app.id} stamp=${query.stamp} />`,
  },
  history: {
    title: 'History',
    show: ({ app, query }) => html`<${Installs} id=${app.id} stamp=${query.stamp} />`,
  },
  frontend: { title: 'Frontend', show: ({ app }) => html`<${Frontend} id=${app.id} />` },
  retired: { title: 'Retired', show: ({ app }) => html`<${Retired} id=${app.id} />` },
};

export function AppDetail({ id, tab = 'tables', query }) {
  const description = useLoad(() => describe(id), [id, apps.value]);
  const isAdmin = findApp(id)?.admin;
  const adminTabs = Object.keys(TABS).filter(
    (name) => name !== 'frontend' || features.value.has('frontends'),
  );
  const names = isAdmin ? adminTabs : ['tables'];
  return html`<${Loaded} of=${description}>
    ${(app) => html`<nav class="crumbs" aria-label="Where this is">
        <${A} to=${['apps']}>Apps<//>
      </nav>
      <${Head}
        title=${app.name}
        sub=${html`<code>${id}</code> · version ${app.version}`}
        request=${{ method: 'GET', path: url`/api/v1/apps/${id}` }}
      />
      <nav class="tabs" aria-label="Parts of the app">
        ${names.map(
          (name) => html`<${A}
            key=${name}
            to=${['apps', id, name]}
            aria-current=${tab === name ? 'page' : undefined}
          >
            ${TABS[name].title}
          <//>`,
        )}
      </nav>
      ${TABS[tab]?.show({ app, query })}`}
  <//>`;
}

/** The manifest as it is installed, or as it once was. */
function Stored({ id, stamp }) {
  const path = stamp
    ? url`/api/v1/apps/${id}/manifests/${stamp}`
    : url`/api/v1/apps/${id}/manifest`;
  const loaded = useLoad(() => get(path), [path]);
  return html`<${Loaded} of=${loaded}>
    ${(manifest) => html`<${Manifest} text=${formatJson(manifest)} />`}
  <//>`;
}
