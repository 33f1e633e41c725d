/** The pages of an app: deploying them, the versions that are kept, and the way to them. */
import { html } from '../../core/kit.js';
import { get, remove, url } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { OpenApp } from '../../core/screen.js';
import { describe, loadApps } from '../../core/store.js';
import { Loaded, attempt, toast, useLoad } from '../../core/ui.js';
import { Deploy, Versions } from '../../parts/releases.js';

export function Frontend({ id }) {
  const path = url`/api/v1/apps/${id}/frontend`;
  const app = useLoad(() => describe(id), [id]);
  const versions = useLoad(() => get(`${path}/versions`), [id]);
  const reload = async () => {
    await loadApps();
    app.reload();
    versions.reload();
  };
  return html`<div class="split">
    <div class="stack">
      <${Loaded} of=${app}>${(shown) => html`<${Place} app=${shown} />`}<//>
      <${Loaded} of=${versions}>
        ${(list) => html`<${KeptVersions} path=${path} versions=${list} done=${reload} />`}
      <//>
    </div>
    <aside class="stack">
      <${Deploy} path=${path} done=${reload}>
        A built site with <code>index.html</code> at its top or in one folder.
      <//>
    </aside>
  </div>`;
}

/** Where the pages are. */
function Place({ app }) {
  if (!app.hasFrontend) return html`<p class="dim">No frontend is deployed.</p>`;
  if (!app.url)
    return html`<p class="dim">
      The app has no host: set <code>domain</code> in <code>[plugins.frontends]</code>.
    </p>`;
  return html`<p>
    <${OpenApp} url=${app.url} />${' '}
    <code>${app.url}</code>
  </p>`;
}

/** Versions that are kept; an earlier one can be put back, and all can be deleted. */
function KeptVersions({ path, versions, done }) {
  if (!versions.length) return null;
  const removeAll = async () => {
    const text = 'All versions are deleted, and the host of the app answers no more.';
    const isSure = await confirm('Delete the frontend?', text, { yes: 'Delete' });
    if (!isSure) return;
    await attempt(async () => {
      const reply = await remove(path);
      toast(reply.message);
    });
    done();
  };
  const rows = versions.map(({ version, created_at, size, current }) => ({
    number: version,
    at: created_at,
    size,
    isCurrent: current,
  }));
  return html`<${Versions}
    path=${`${path}/rollback`}
    versions=${rows}
    warning="Browsers get its files at their next request. The present version is kept."
    done=${done}
  >
    <p><button class="small" onClick=${removeAll}>Delete the frontend…</button></p>
  <//>`;
}
