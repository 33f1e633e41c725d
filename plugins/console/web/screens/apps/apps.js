/** Apps: what is installed, the way to a manifest, and one app with its parts. */
import { html } from '../../core/kit.js';
import { get, remove, url } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { formatJson } from '../../core/json.js';
import { A, go } from '../../core/router.js';
import { Head, Listing } from '../../core/screen.js';
import { admin, apps, describe, features, findApp, loadApps } from '../../core/store.js';
import { Empty, IconButton, Loaded, attempt, icon, toast, useLoad } from '../../core/ui.js';
import { Diagram } from './diagram.js';
import { Frontend } from './frontend.js';
import { Installs, Retired } from './installs.js';
import { Manifest } from './manifest.js';
import { Tables } from './tables.js';

export default function Apps({ parts: [id, tab], query }) {
  if (id === 'new') return html`<${NewApp} />`;
  if (id) return html`<${AppDetail} key=${id} id=${id} tab=${tab} query=${query} />`;
  const listed = apps.value.filter((app) => app.admin || admin.value);
  return html`<${Head}
      title="Apps"
      sub="An app is a manifest: its tables, fields, permissions and the sections of plugins."
      request=${{ method: 'GET', path: '/api/v1/apps' }}
    >
      ${
        admin.value &&
        html`<${A} class="button" to=${['apps', 'new']}>From a manifest<//>
          <button class="primary" onClick=${() => go(['start'])}>${icon('plus')}New app</button>`
      }
    <//>
    ${
      listed.length
        ? html`<${List} apps=${listed} />`
        : html`<${Empty} title="No apps" glyph="app">Install the first one from a manifest.<//>`
    }`;
}

const NewApp = () => html`<${Head}
    title="New app"
    sub="Paste or write a manifest, look at the plan, install."
    request=${{ method: 'POST', path: '/api/v1/apps/schema/verify', body: {} }}
  />
  <${Manifest} />`;

const List = ({
  apps: listed,
}) => html`<${Listing} heads=${['Name', 'Id', 'Version', ['Tables', 'num'], '']}>
  ${listed.map(
    (app) => html`<tr key=${app.id}>
      <td><${A} to=${['apps', app.id]}><b>${app.name}</b><//></td>
      <td><code>${app.id}</code></td>
      <td>${app.version}</td>
      <td class="num">${app.entities.length}</td>
      <td class="right nowrap">
        <${A} class="button" to=${['apps', app.id, 'manifest']}>Manifest<//> <${IconButton}
          glyph="trash"
          label=${`Uninstall ${app.name}`}
          title="Uninstall"
          onClick=${() => uninstall(app)}
        />
      </td>
    </tr>`,
  )}
<//>`;

async function uninstall(app) {
  const text = `Its ${app.entities.length} tables with all records, roles, secrets, jobs and files are dropped. The audit trail stays.`;
  const options = { yes: 'Uninstall', typed: app.id };
  const isSure = await confirm(`Uninstall ${app.name}?`, text, options);
  if (!isSure) return;
  await attempt(async () => {
    await remove(url`/api/v1/apps/${app.id}`);
    toast(`${app.name} was uninstalled.`);
    await loadApps();
    go(['apps']);
  });
}

// --- one app: its tables as a diagram, its manifest, its installs, and what is retired

/** Parts of an app: what they are called, and what shows them. */
const TABS = {
  tables: {
    title: 'Tables',
    show: ({ app }) => html`<${Diagram} app=${app} /><${Tables} app=${app} />`,
  },
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

const FROM_FOLDER = ' · deployed from a folder';

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
        sub=${html`<code>${id}</code> · version ${app.version}${app.managedBy && FROM_FOLDER}`}
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
      ${
        names.includes(tab)
          ? TABS[tab].show({ app, query })
          : html`<${Empty} title="There is no such page" glyph="app" />`
      }`}
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
