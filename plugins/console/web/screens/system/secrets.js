/** Secrets of apps and of the platform: names only, values are never shown. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url } from '../../core/api.js';
import { admin } from '../../core/store.js';
import {
  Ago,
  Empty,
  ErrorBox,
  Head,
  Input,
  Loaded,
  confirm,
  fail,
  icon,
  openDialog,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';

export default function Secrets({ parts: [appId] }) {
  const extra = admin.value ? [['platform', 'Platform: all apps']] : [];
  return html`<${WithApp} screen="secrets" appId=${appId} fits=${(a) => a.admin} extra=${extra}>
    ${(id, picker) => html`<${Screen}
      key=${id}
      path=${id === 'platform' ? '/api/v1/platform/secrets' : url`/api/v1/apps/${id}/secrets`}
      picker=${picker}
    />`}
  <//>`;
}

function Screen({ path, picker }) {
  const names = useLoad(() => get(`${path}/usage`), [path]);
  const set = async (key = '') => {
    if (
      await openDialog(
        ({ close }) => html`<${SetSecret} path=${path} name=${key} close=${close} />`,
        { label: 'Set a secret' },
      )
    )
      names.reload();
  };
  const drop = async (key) => {
    if (
      !(await confirm(`Delete ${key}?`, 'Running workers are restarted without it.', {
        yes: 'Delete',
      }))
    )
      return;
    try {
      toast((await remove(`${path}/${encodeURIComponent(key)}`)).message);
      names.reload();
    } catch (error) {
      fail(error);
    }
  };
  return html`<${Head}
      title="Secrets"
      sub="Given to the worker as environment variables. A value can be set, never read."
      request=${{ method: 'GET', path }}
    >
      ${picker}
      <button class="primary" onClick=${() => set()}>${icon('plus')}New secret</button>
    <//>
    <${Loaded} of=${names}>
      ${(list) =>
        list.length
          ? html`<div class="scrollx"><table class="list">
            <thead><tr><th>Name</th><th>Set</th><th>Last used</th><th /></tr></thead>
            <tbody>
              ${list.map(
                ({ key, updated_at: set_at, used_at: at, used_by: by }) => html`<tr key=${key}>
                  <td class="nowrap"><code>${key}</code></td>
                  <td class="nowrap"><${Ago} at=${set_at} /></td>
                  <td class="nowrap">
                    <${Ago} at=${at} />
                    ${by && html`<span class="dim"> by the worker of ${by}</span>`}
                  </td>
                  <td class="right nowrap">
                    <button class="small" onClick=${() => set(key)}>Set again…</button> <button
                      class="quiet icon small"
                      aria-label=${`Delete ${key}`}
                      onClick=${() => drop(key)}
                    >
                      ${icon('trash')}
                    </button>
                  </td>
                </tr>`,
              )}
            </tbody>
          </table></div>`
          : html`<${Empty} title="No secrets" glyph="secret">
            Keys and passwords that the app's worker needs.
          <//>`}
    <//>`;
}

function SetSecret({ path, name, close }) {
  const [form, bind] = useForm({ key: name, value: '' });
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      toast((await post(path, form)).message);
      close(true);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>${name ? `Set ${name}` : 'New secret'}</h2>
    <${Input}
      title="Name"
      class="mono"
      required
      autofocus=${!name}
      readonly=${Boolean(name)}
      autocomplete="off"
      ...${bind('key')}
    />
    <label class="field">
      <span>Value</span>
      <textarea
        class="mono masked"
        required
        rows="3"
        autofocus=${Boolean(name)}
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
