/** Saved views: filter, order and columns under a name, for oneself or for a role. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { Menu } from '../../core/screen.js';
import { features, findApp } from '../../core/store.js';
import { ErrorBox, Input, fail, icon, toast, useForm, useLoad } from '../../core/ui.js';
import { Options } from '../../form/control.js';

const PATH = '/api/v1/console/views';

/** Links to what a view shows. */
async function showLinks(appId, entity, view) {
  const { openExports } = await import('../exports/links.js');
  openExports({ appId, entity, body: { view: view.id }, name: view.name });
}

/** @param {{appId: string, entity: any, state: object, onApply: (state: any) => void}} props */
export function Views({ appId, entity, state, onApply }) {
  const list = useLoad(() => get(PATH, { app: appId, entity: entity.name }), [appId, entity.name]);
  const views = list.data ?? [];
  const save = async () => {
    const view = { app: appId, entity: entity.name, state };
    const content = ({ close }) => html`<${Save} view=${view} close=${close} />`;
    const name = await openDialog(content, { label: 'Save view' });
    if (!name) return;
    toast(`View “${name}” saved.`);
    list.reload();
  };
  const drop = async (view) => {
    try {
      await remove(url`/api/v1/console/views/${view.id}`);
      list.reload();
    } catch (error) {
      fail(error);
    }
  };
  const label = html`${icon('star')}<span class="wide-only">Views</span>`;
  return html`<${Menu} title="Saved views" label=${label}>
    ${(close) => {
      const closing = (run) => () => {
        close();
        run();
      };
      return html`${views.map(
        (view) => html`<${ViewLine}
          key=${view.id}
          view=${view}
          apply=${closing(() => onApply(view.state))}
          drop=${() => drop(view)}
          link=${features.value.has('exports') && closing(() => showLinks(appId, entity, view))}
        />`,
      )}
        ${list.data?.length === 0 && html`<div class="pad dim">No saved views.</div>`}
        <hr />
        <button onClick=${closing(save)}>${icon('plus')}Save this view…</button>`;
    }}
  <//>`;
}

const ViewLine = ({ view, apply, drop, link }) => html`<div class="row viewline">
  <button class="grow" onClick=${apply}>
    <span class="cut">${view.name}</span>
    ${view.role && html`<small>${view.role}</small>`}
  </button>
  ${
    link &&
    html`<button
      class="quiet icon small"
      title="Link for spreadsheets"
      aria-label=${`Link for spreadsheets: ${view.name}`}
      onClick=${link}
    >
      ${icon('link')}
    </button>`
  }
  ${
    view.own &&
    html`<button
      class="quiet icon small"
      aria-label=${`Delete the view ${view.name}`}
      onClick=${drop}
    >
      ${icon('trash')}
    </button>`
  }
</div>`;

function Save({ view, close }) {
  const [form, bind, setForm] = useForm({ name: '', role: '' });
  const [error, setError] = useState(null);
  const isAdmin = findApp(view.app)?.admin;
  const roles = useLoad(() => (isAdmin ? get(url`/api/v1/apps/${view.app}/roles`) : []), []);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await post(PATH, { ...view, name: form.name, role: form.role || null });
      close(form.name);
    } catch (problem) {
      setError(problem);
    }
  };
  const roleChoices = (roles.data ?? []).map(({ name }) => [name, `Role ${name}`]);
  const chooseRole = (event) => setForm({ ...form, role: event.target.value });
  return html`<form class="stack" onSubmit=${submit}>
    <h2>Save this view</h2>
    <${Input} title="Name" autofocus required maxlength="80" ...${bind('name')} />
    ${
      isAdmin &&
      html`<label class="field">
        <span>For</span>
        <select onChange=${chooseRole}>
          <${Options} choices=${[['', 'Only me'], ...roleChoices]} chosen=${form.role} />
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
