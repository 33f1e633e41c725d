/** Deploying a worker by dropping its archive, and going back to an earlier version. */
import { html, useState } from '../../core/kit.js';
import { get, post } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { Ago } from '../../core/screen.js';
import { ErrorBox, attempt, toast, useLoad } from '../../core/ui.js';
import { FileDrop } from '../../form/files.js';

/** Drop a .tar.gz; the running version goes on until the new one answers. */
export function Deploy({ path, done }) {
  const [state, setState] = useState({});
  const send = async (file) => {
    setState({ sending: file.name });
    const form = new FormData();
    form.append('archive', file);
    try {
      const reply = await post(`${path}/deploy`, form);
      toast(reply.message);
      setState({});
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
    <p class="dim">
      With <code>worker.py</code>, <code>main.py</code> or <code>index.js</code> at its top. A
      version that does not come up is rolled back.
    </p>
    <${ErrorBox} error=${state.error} />
  </section>`;
}

/** Versions that are kept; an earlier one can be put back. */
export function Versions({ path, current, done }) {
  const list = useLoad(() => get(`${path}/worker/versions`), [path, current]);
  if (!list.data?.length) return null;
  const goBack = async (number) => {
    const text = 'Calls go to it when it answers; the version that runs now is kept.';
    const isSure = await confirm(`Go back to version ${number}?`, text, { yes: 'Go back' });
    if (!isSure) return;
    await attempt(async () => {
      const reply = await post(`${path}/worker/rollback`, { version: number });
      toast(reply.message);
    });
    list.reload();
    done();
  };
  return html`<section class="card">
    <h2>Versions</h2>
    <ul class="plain">
      ${list.data.map(
        (version) => html`<${Version}
          key=${version.version}
          version=${version}
          goBack=${() => goBack(version.version)}
        />`,
      )}
    </ul>
  </section>`;
}

const Version = ({ version, goBack }) => html`<li class="row">
  <b>${version.version}</b>
  <span class="grow dim" title=${`SHA-256 ${version.sha256}`}>
    <${Ago} at=${version.at} />, ${Math.ceil(version.size / 1000)} kB
  </span>
  ${
    version.in_service
      ? html`<span class="tag good">in service</span>`
      : html`<button class="small" onClick=${goBack}>Go back to it</button>`
  }
</li>`;
