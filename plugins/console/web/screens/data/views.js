/** Saved views: filter, order, columns and layout under a name, for oneself or for a role. */
import { html, useState } from '../../core/kit.js';
import { get, post, put, remove, url } from '../../core/api.js';
import { askVersion, openDialog } from '../../core/dialogs.js';
import { stringify } from '../../core/json.js';
import { Menu } from '../../core/screen.js';
import { features, findApp, toWords } from '../../core/store.js';
import { ErrorBox, Input, attempt, icon, toast, useForm, useLoad } from '../../core/ui.js';
import { Choice } from '../../form/control.js';

export const VIEWS = '/api/v1/console/views';

/** Links to what a view shows. */
async function showLinks(appId, entity, view) {
  const { openExports } = await import('../exports/links.js');
  openExports({ appId, entity, body: { view: view.id }, name: view.name });
}

/** Whether a view is as it is stored; columns that it does not name are those of the user. */
function isAsStored(stored, shown) {
  const { columns = stored.columns, ...rest } = shown;
  const write = (state) => Object.entries(state).sort().join('\n');
  return (
    write({ ...rest, columns: stored.columns && columns }) ===
    write({ columns: undefined, ...stored })
  );
}

/**
 * @param {{appId: string, entity: any, state: any, onApply: (state: any) => void}} props `state` is
 *   that of the address; its `view` is the one that was opened.
 */
export function Views({ appId, entity, state, onApply }) {
  const { view: openId, at, ...shown } = state;
  const query = { app: appId, entity: entity.name };
  const list = useLoad((signal) => get(VIEWS, query, { signal }), [appId, entity.name]);
  const views = list.data ?? [];
  const open = views.find((view) => view.id === openId);
  const isChanged = open && !isAsStored(open.state, shown);
  const apply = (view) => onApply({ ...view.state, view: view.id });
  const save = async () => {
    const submit = (content) => post(VIEWS, { ...query, ...content, state: shown });
    const saved = await openSave({ title: 'Save this view', appId, submit });
    if (!saved) return;
    toast(`View “${saved.name}” saved.`);
    list.reload();
    onApply({ ...shown, view: saved.id });
  };
  const saveChanges = () =>
    attempt(async () => {
      const { view, isMine } = await changeView(open, { ...readContent(open), state: shown });
      list.set(views.map((other) => (other.id === view.id ? view : other)));
      if (isMine) toast(`View “${view.name}” saved.`);
      else apply(view);
    });
  const drop = (view) =>
    attempt(async () => {
      await remove(`${VIEWS}/${view.id}`);
      list.reload();
    });
  const label = html`${icon('star')}
    <span class="wide-only cut">${open ? open.name : 'Views'}${isChanged && ' •'}</span>`;
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
          apply=${closing(() => apply(view))}
          drop=${() => drop(view)}
          link=${features.value.has('exports') && closing(() => showLinks(appId, entity, view))}
        />`,
      )}
        ${list.data?.length === 0 && html`<div class="pad dim">No saved views.</div>`}
        <hr />
        ${
          isChanged &&
          open.editable &&
          html`<button onClick=${closing(saveChanges)}>
            ${icon('check')}Save the changes of “${open.name}”
          </button>`
        }
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
    view.editable &&
    html`<button
      class="quiet icon small"
      aria-label=${`Delete the view ${view.name}`}
      onClick=${drop}
    >
      ${icon('trash')}
    </button>`
  }
</div>`;

// --- saving, also of dashboards

export const readContent = ({ name, role, state }) => ({ name, role, state });

/**
 * Store a view that this page has read. Where it was changed meanwhile, the user sees both versions.
 * @param {any} view @param {{name: string, role: string|null, state: any}} content
 * @returns {Promise<{view: any, isMine: boolean}>} the view as it is stored then
 */
export async function changeView(view, content) {
  let etag = `"${view.version}"`;
  for (;;) {
    try {
      const headers = { 'if-match': etag };
      return { view: await put(`${VIEWS}/${view.id}`, content, { headers }), isMine: true };
    } catch (error) {
      if (error.status !== 412) throw error;
      const other = error.body.view;
      const isMine = await askVersion({
        title: `“${view.name}” has changed`,
        text: 'Another tab or user has saved it since you opened it. Which version should be kept?',
        rows: listDifferences(readContent(other), content),
      });
      if (!isMine) return { view: other, isMine };
      etag = error.body.etag;
    }
  }
}

/** Members that differ, as `askVersion` shows them. @returns {any} */
function listDifferences(theirs, mine) {
  const flatten = ({ state, ...rest }) => ({ ...rest, ...state });
  const left = flatten(theirs);
  const right = flatten(mine);
  const names = Object.keys({ ...left, ...right });
  const write = (value) => (typeof value === 'string' ? value : stringify(value ?? '–', 1));
  return names
    .map((name) => [toWords(name), write(left[name]), write(right[name])])
    .filter(([, before, after]) => before !== after);
}

/**
 * Ask for a name and a role, and let `submit` store them.
 * @param {{title: string, appId: string, start?: {name: string, role: string|null},
 *   submit: (content: {name: string, role: string|null}) => Promise<any>}} question
 * @returns {Promise<any>} what was stored, with its name; undefined where the user gave up
 */
export function openSave(question) {
  const content = ({ close }) => html`<${Save} ...${question} close=${close} />`;
  return openDialog(content, { label: question.title });
}

function Save({ title, appId, start = { name: '', role: null }, submit, close }) {
  const [form, bind, setForm] = useForm({ ...start, role: start.role ?? '' });
  const [error, setError] = useState(null);
  const isAdmin = findApp(appId)?.admin;
  const roles = useLoad(() => (isAdmin ? get(url`/api/v1/apps/${appId}/roles`) : []), []);
  const send = async (event) => {
    event.preventDefault();
    try {
      const content = { name: form.name, role: form.role || null };
      close({ ...content, ...(await submit(content)) });
    } catch (problem) {
      setError(problem);
    }
  };
  const roleChoices = (roles.data ?? []).map(({ name }) => [name, `Role ${name}`]);
  return html`<form class="stack" onSubmit=${send}>
    <h2>${title}</h2>
    <${Input} title="Name" autofocus required maxlength="80" ...${bind('name')} />
    ${
      isAdmin &&
      html`<${Choice}
        title="For"
        choices=${[['', 'Only me'], ...roleChoices]}
        chosen=${form.role}
        change=${(role) => setForm({ ...form, role })}
      />`
    }
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Save</button>
    </div>
  </form>`;
}
