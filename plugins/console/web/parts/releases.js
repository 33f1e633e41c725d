/** The code of an app: dropping an archive of it, the versions that are kept, going back to one. */
import { html, useState } from '../core/kit.js';
import { post } from '../core/api.js';
import { confirm } from '../core/dialogs.js';
import { Ago } from '../core/screen.js';
import { ErrorBox, attempt, toast } from '../core/ui.js';
import { FileDrop } from '../form/files.js';

/**
 * Drop a .tar.gz, which `path` takes; the children say what belongs into it.
 * @param {{path: string, done: () => void, children?: any}} props
 */
export function Deploy({ path, done, children }) {
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
    <p class="dim">${children}</p>
    ${state.ignored?.length > 0 && html`<p class="dim">Left out: ${state.ignored.join(', ')}</p>`}
    <${ErrorBox} error=${state.error} />
  </section>`;
}

/**
 * Versions that are kept. An earlier one is put back by `path`, after a question with `warning`.
 * The children are below the list.
 * @param {{path: string, versions: {number: number, at: string, size: number, isCurrent: boolean,
 *   title?: string}[], warning: string, done: () => void, children?: any}} props
 */
export function Versions({ path, versions, warning, done, children }) {
  const goBack = async (number) => {
    const isSure = await confirm(`Go back to version ${number}?`, warning, { yes: 'Go back' });
    if (!isSure) return;
    await attempt(async () => {
      const reply = await post(path, { version: number });
      toast(reply.message);
    });
    done();
  };
  return html`<section class="card">
    <h2>Versions</h2>
    <ul class="plain">
      ${versions.map(
        (version) => html`<${Version}
          key=${version.number}
          version=${version}
          goBack=${() => goBack(version.number)}
        />`,
      )}
    </ul>
    ${children}
  </section>`;
}

const Version = ({ version, goBack }) => html`<li class="row">
  <b>${version.number}</b>
  <span class="grow dim" title=${version.title}>
    <${Ago} at=${version.at} />, ${Math.ceil(version.size / 1000)} kB
  </span>
  ${
    version.isCurrent
      ? html`<span class="tag good">in service</span>`
      : html`<button class="small" onClick=${goBack}>Go back to it</button>`
  }
</li>`;
