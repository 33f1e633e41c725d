/** The pages of an app: deploying them, the versions that are kept, and the way to them. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { Ago } from '../../core/screen.js';
import { describe, loadApps } from '../../core/store.js';
import { ErrorBox, Loaded, attempt, toast, useLoad } from '../../core/ui.js';
import { FileDrop } from '../../form/files.js';

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
        ${(list) => html`<${Versions} path=${path} versions=${list} done=${reload} />`}
      <//>
    </div>
    <aside class="stack"><${Deploy} path=${path} done=${reload} /></aside>
  </div>`;
}

/** Where the pages are; the app has a host of its own, so they open in a tab of their own. */
function Place({ app }) {
  if (!app.hasFrontend) return html`<p class="dim">No frontend is deployed.</p>`;
  if (!app.url)
    return html`<p class="dim">
      The app has no host: set <code>domain</code> in <code>[plugins.frontends]</code>.
    </p>`;
  return html`<p>
    <a class="button primary" href=${app.url} rel="noopener noreferrer" target="_blank">Open app</a>${' '}
    <code>${app.url}</code>
  </p>`;
}

/** Versions that are kept; an earlier one can be put back. */
function Versions({ path, versions, done }) {
  if (!versions.length) return null;
  const goBack = async (number) => {
    const text = 'Browsers get its files at their next request. The present version is kept.';
    const isSure = await confirm(`Go back to version ${number}?`, text, { yes: 'Go back' });
    if (!isSure) return;
    await attempt(async () => {
      const reply = await post(`${path}/rollback`, { version: number });
      toast(reply.message);
    });
    done();
  };
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
  return html`<section class="card">
    <h2>Versions</h2>
    <ul class="plain">
      ${versions.map(
        (version) => html`<${Version}
          key=${version.version}
          version=${version}
          goBack=${() => goBack(version.version)}
        />`,
      )}
    </ul>
    <p><button class="small" onClick=${removeAll}>Delete the frontend…</button></p>
  </section>`;
}

const Version = ({ version, goBack }) => html`<li class="row">
  <b>${version.version}</b>
  <span class="grow dim">
    <${Ago} at=${version.created_at} />, ${Math.ceil(version.size / 1000)} kB
  </span>
  ${
    version.current
      ? html`<span class="tag good">in service</span>`
      : html`<button class="small" onClick=${goBack}>Go back to it</button>`
  }
</li>`;

/** Drop a .tar.gz; it is in service once the server has checked it whole. */
function Deploy({ path, done }) {
  const [state, setState] = useState({});
  const send = async (file) => {
    setState({ sending: file.name });
    const form = new FormData();
    form.append('archive', file);
    try {
      const reply = await post(path, form);
      toast(reply.message);
      setState({ ignored: reply.ignored });
    } catch (error) {
      setState({ error });
    }
    done();
  };
  const hint = html`Drop a <code>.tar.gz</code> or <u>choose one</u>`;
  return html`<section class="card stack">
    <h2>Deploy</h2>
    <${FileDrop}
      label="Archive"
      accept=".gz,.tgz"
      disabled=${Boolean(state.sending)}
      take=${send}
    >
      ${state.sending ? `Deploying ${state.sending}…` : hint}
    <//>
    <p class="dim">A built site with <code>index.html</code> at its top or in one folder.</p>
    ${state.ignored?.length > 0 && html`<p class="dim">Left out: ${state.ignored.join(', ')}</p>`}
    <${ErrorBox} error=${state.error} />
  </section>`;
}
