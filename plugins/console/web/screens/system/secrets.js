/** Secrets of apps and of the platform: names only, values are never shown. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url } from '../../core/api.js';
import { confirm, openDialog } from '../../core/dialogs.js';
import { Ago, Head, Listing } from '../../core/screen.js';
import { admin } from '../../core/store.js';
import {
  Empty,
  ErrorBox,
  IconButton,
  Input,
  Loaded,
  attempt,
  icon,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';

const PLATFORM = 'platform';

const buildPath = (id) =>
  id === PLATFORM ? '/api/v1/platform/secrets' : url`/api/v1/apps/${id}/secrets`;

export default function Secrets({ parts: [appId] }) {
  const extra = admin.value ? [[PLATFORM, 'Platform: all apps']] : [];
  return html`<${WithApp} screen="secrets" appId=${appId} fits=${(app) => app.admin} extra=${extra}>
    ${(id, picker) => html`<${Screen} key=${id} path=${buildPath(id)} picker=${picker} />`}
  <//>`;
}

function Screen({ path, picker }) {
  const list = useLoad(() => get(`${path}/usage`), [path]);
  const set = async (name = '') => {
    const content = ({ close }) => html`<${SetSecret} path=${path} name=${name} close=${close} />`;
    const isSet = await openDialog(content, { label: 'Set a secret' });
    if (isSet) list.reload();
  };
  const drop = async (name) => {
    const text = 'Running workers are restarted without it.';
    const isSure = await confirm(`Delete ${name}?`, text, { yes: 'Delete' });
    if (!isSure) return;
    await attempt(async () => {
      const reply = await remove(`${path}/${encodeURIComponent(name)}`);
      toast(reply.message);
      list.reload();
    });
  };
  return html`<${Head}
      title="Secrets"
      sub="Given to the worker as environment variables. A value can be set, never read."
      request=${{ method: 'GET', path }}
    >
      ${picker}
      <button class="primary" onClick=${() => set()}>${icon('plus')}New secret</button>
    <//>
    <${Loaded} of=${list}>
      ${(secrets) =>
        secrets.length
          ? html`<${List} secrets=${secrets} set=${set} drop=${drop} />`
          : html`<${Empty} title="No secrets" glyph="secret">
            Keys and passwords that the app's worker needs.
          <//>`}
    <//>`;
}

const List = ({ secrets, set, drop }) => html`<${Listing} heads=${['Name', 'Set', 'Last used', '']}>
  ${secrets.map(
    (secret) => html`<tr key=${secret.key}>
      <td class="nowrap"><code>${secret.key}</code></td>
      <td class="nowrap"><${Ago} at=${secret.updated_at} /></td>
      <td class="nowrap">
        <${Ago} at=${secret.used_at} />
        ${secret.used_by && html`<span class="dim"> by the worker of ${secret.used_by}</span>`}
      </td>
      <td class="right nowrap">
        <button class="small" onClick=${() => set(secret.key)}>Set again…</button> <${IconButton}
          isSmall
          glyph="trash"
          label=${`Delete ${secret.key}`}
          onClick=${() => drop(secret.key)}
        />
      </td>
    </tr>`,
  )}
<//>`;

/** @param {{path: string, name: string, close: (isSet?: boolean) => void}} props */
function SetSecret({ path, name, close }) {
  const [form, bind] = useForm({ key: name, value: '' });
  const [error, setError] = useState(null);
  const isNew = name === '';
  const submit = async (event) => {
    event.preventDefault();
    try {
      const reply = await post(path, form);
      toast(reply.message);
      close(true);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>${isNew ? 'New secret' : `Set ${name}`}</h2>
    <${Input}
      title="Name"
      class="mono"
      required
      autofocus=${isNew}
      readonly=${!isNew}
      autocomplete="off"
      ...${bind('key')}
    />
    <label class="field">
      <span>Value</span>
      <textarea
        class="mono masked"
        required
        rows="3"
        autofocus=${!isNew}
        autocomplete="off"
        spellcheck=${false}
        ...${bind('value')}
      />
    </label>
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Set</button>
    </div>
  </form>`;
}
