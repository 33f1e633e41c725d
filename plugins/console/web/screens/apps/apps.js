/** Apps: what is installed, and the way to a manifest. */
import { html } from '../../core/kit.js';
import { remove, url } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { Head } from '../../core/head.js';
import { A, go } from '../../core/router.js';
import { admin, apps, loadApps } from '../../core/store.js';
import { Empty, attempt, icon, toast } from '../../core/ui.js';
import { AppDetail } from './detail.js';
import { Manifest } from './manifest.js';

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

const List = ({ apps: listed }) => html`<div class="scrollx">
  <table class="list">
    <thead>
      <tr><th>Name</th><th>Id</th><th>Version</th><th class="num">Tables</th><th /></tr>
    </thead>
    <tbody>
      ${listed.map(
        (app) => html`<tr key=${app.id}>
          <td><${A} to=${['apps', app.id]}><b>${app.name}</b><//></td>
          <td><code>${app.id}</code></td>
          <td>${app.version}</td>
          <td class="num">${app.entities.length}</td>
          <td class="right nowrap">
            <${A} class="button" to=${['apps', app.id, 'manifest']}>Manifest<//> <button
              class="quiet icon"
              aria-label=${`Uninstall ${app.name}`}
              title="Uninstall"
              onClick=${() => uninstall(app)}
            >
              ${icon('trash')}
            </button>
          </td>
        </tr>`,
      )}
    </tbody>
  </table>
</div>`;

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
