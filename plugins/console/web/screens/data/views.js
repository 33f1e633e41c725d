/** Saved views: filter, order and columns under a name, for oneself or for a role. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url } from '../../core/api.js';
import { findApp } from '../../core/store.js';
import { ErrorBox, Menu, fail, icon, openDialog, toast, useLoad } from '../../core/ui.js';

/** @param {{appId: string, entity: any, state: object, onApply: (state: any) => void}} props */
export function Views({ appId, entity, state, onApply }) {
  const list = useLoad(
    () => get('/api/v1/console/views', { app: appId, entity: entity.name }),
    [appId, entity.name],
  );
  const save = async (close) => {
    close();
    const made = await openDialog(
      ({ close: done }) => html`<${Save}
        appId=${appId}
        entity=${entity}
        state=${state}
        close=${done}
      />`,
      { label: 'Save view' },
    );
    if (made) {
      toast(`View “${made}” saved.`);
      list.reload();
    }
  };
  const drop = async (view) => {
    try {
      await remove(url`/api/v1/console/views/${view.id}`);
      list.reload();
    } catch (error) {
      fail(error);
    }
  };
  return html`<${Menu}
    title="Saved views"
    label=${html`${icon('star')}<span class="wide-only">Views</span>`}
  >
    ${(close) => html`${(list.data ?? []).map(
      (view) => html`<div class="row viewline" key=${view.id}>
        <button
          class="grow"
          onClick=${() => {
            close();
            onApply(view.state);
          }}
        >
          <span class="cut">${view.name}</span>
          ${view.role && html`<small>${view.role}</small>`}
        </button>
        ${
          view.own &&
          html`<button
            class="quiet icon small"
            aria-label=${`Delete the view ${view.name}`}
            onClick=${() => drop(view)}
          >
            ${icon('trash')}
          </button>`
        }
      </div>`,
    )}
      ${list.data?.length === 0 && html`<div class="pad dim">No saved views.</div>`}
      <hr />
      <button onClick=${() => save(close)}>${icon('plus')}Save this view…</button>`}
  <//>`;
}

function Save({ appId, entity, state, close }) {
  const [form, set] = useState({ name: '', role: '' });
  const [error, setError] = useState(null);
  const admin = findApp(appId)?.admin;
  const roles = useLoad(() => (admin ? get(url`/api/v1/apps/${appId}/roles`) : []), []);
  const submit = async (e) => {
    e.preventDefault();
    try {
      await post('/api/v1/console/views', {
        app: appId,
        entity: entity.name,
        name: form.name,
        state,
        role: form.role || null,
      });
      close(form.name);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>Save this view</h2>
    <label class="field">
      <span>Name</span>
      <input
        autofocus
        required
        maxlength="80"
        value=${form.name}
        onInput=${(e) => set({ ...form, name: e.target.value })}
      />
    </label>
    ${
      admin &&
      html`<label class="field">
        <span>For</span>
        <select onChange=${(e) => set({ ...form, role: e.target.value })}>
          <option value="">Only me</option>
          ${(roles.data ?? []).map(
            (r) => html`<option key=${r.name} value=${r.name}>Role ${r.name}</option>`,
          )}
        </select>
      </label>`
    }
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Save</button>
    </div>
  </form>`;
}
