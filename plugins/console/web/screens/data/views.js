/** How a table is seen: saved views, and the forms that its records can have. */
import { html, useState } from '../../core/kit.js';
import { get, post, put, remove, url } from '../../core/api.js';
import { askVersion, openDialog } from '../../core/dialogs.js';
import { stringify } from '../../core/json.js';
import { setQuery } from '../../core/router.js';
import { Menu } from '../../core/screen.js';
import { features, findApp, nameField, toWords } from '../../core/store.js';
import {
  Empty,
  ErrorBox,
  IconButton,
  Input,
  attempt,
  icon,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';
import { Choice, Options } from '../../form/control.js';
import { isManaged, listFields } from '../../parts/values.js';

export const VIEWS = '/api/v1/console/views';

/** Links to what a view shows. */
async function showLinks(appId, entity, view) {
  const { openExports } = await import('../exports/links.js');
  openExports({ appId, entity, body: { view: view.id }, name: view.name });
}

/** Whether a view is as it is stored; columns and widths that it does not name are the user's. */
function isAsStored(stored, state) {
  const { columns = stored.columns, widths = stored.widths, ...rest } = state;
  const write = (members) => Object.entries(members).sort().join('\n');
  const shown = { columns: stored.columns && columns, widths: stored.widths && widths };
  return (
    write({ ...rest, ...shown }) === write({ columns: undefined, widths: undefined, ...stored })
  );
}

/**
 * @param {{appId: string, entity: any, address: any, onApply: (state: any) => void}} props `address`
 *   is the query of the page's address; its `view` is the one that was opened.
 */
export function Views({ appId, entity, address, onApply }) {
  const { view: openId, at, open, ...state } = address;
  const query = { app: appId, entity: entity.name };
  const list = useLoad((signal) => get(VIEWS, query, { signal }), [appId, entity.name]);
  const views = list.data ?? [];
  const openView = views.find((view) => view.id === openId);
  const isChanged = openView && !isAsStored(openView.state, state);
  const apply = (view) => onApply({ ...view.state, view: view.id });
  const save = async () => {
    const submit = (content) => post(VIEWS, { ...query, ...content, state });
    const saved = await openSave({ title: 'Save this view', appId, submit });
    if (!saved) return;
    toast(`View “${saved.name}” saved.`);
    list.reload();
    onApply({ ...state, view: saved.id });
  };
  const saveChanges = () =>
    attempt(async () => {
      const { view, isMine } = await changeView(openView, { ...readContent(openView), state });
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
    <span class="wide-only cut">${openView ? openView.name : 'Views'}${isChanged && ' •'}</span>`;
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
          openView.editable &&
          html`<button onClick=${closing(saveChanges)}>
            ${icon('check')}Save the changes of “${openView.name}”
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
    html`<${IconButton}
      isSmall
      glyph="link"
      label=${`Link for spreadsheets: ${view.name}`}
      title="Link for spreadsheets"
      onClick=${link}
    />`
  }
  ${
    view.editable &&
    html`<${IconButton}
      isSmall
      glyph="trash"
      label=${`Delete the view ${view.name}`}
      onClick=${drop}
    />`
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

// --- the forms that the records of a table can be seen in, and the menu that chooses one

const TIMES = ['date', 'timestamp'];
const UNGROUPED = ['json', 'file', '[file]', '[text]', '[number]'];

export const isTime = (field) => TIMES.includes(field.type);

/**
 * `fits` says by which fields the records are laid out, `needs` how such a field is called.
 * @type {Record<string, {title: string, glyph: string, needs: string, label: string,
 *   fits: (field: any) => boolean, load: () => Promise<any>}>}
 */
export const LAYOUTS = {
  board: {
    title: 'Board',
    glyph: 'board',
    needs: 'a choice or a link',
    label: 'Columns by',
    fits: (field) => field.enum_values?.length > 0 || Boolean(field.references),
    load: () => import('../layouts/board.js').then((module) => module.Board),
  },
  calendar: {
    title: 'Calendar',
    glyph: 'calendar',
    needs: 'a date',
    label: 'Days by',
    fits: isTime,
    load: () => import('../layouts/calendar.js').then((module) => module.Calendar),
  },
  gallery: {
    title: 'Gallery',
    glyph: 'image',
    needs: 'a field of files',
    label: 'Pictures of',
    fits: isManaged,
    load: () => import('../layouts/gallery.js').then((module) => module.Gallery),
  },
  chart: {
    title: 'Chart',
    glyph: 'chart',
    needs: 'a field that makes groups',
    label: 'Groups by',
    fits: (field) => field.name !== 'id' && !UNGROUPED.includes(field.type),
    load: () => import('../layouts/chart.js').then((module) => module.ChartView),
  },
};

export const listFitting = (entity, layout) => listFields(entity).filter(LAYOUTS[layout].fits);

/** The field that records are laid out by; the first that fits where none is named. */
export function findBy(entity, layout, name) {
  const fitting = listFitting(entity, layout);
  const isChoice = (field) => field.enum_values?.length > 0;
  if (!name) return fitting.find(isChoice) ?? fitting[0];
  return fitting.find((field) => field.name === name);
}

/** Members of the address that belong to one layout. */
const OF_LAYOUT = { by: null, period: null, figure: null, chart: null, at: null };

/** @param {{entity: any, layout: string}} props */
export function LayoutMenu({ entity, layout }) {
  const shown = LAYOUTS[layout];
  const label = html`${icon(shown?.glyph ?? 'table')}
    <span class="wide-only">${shown?.title ?? 'Table'}</span>`;
  return html`<${Menu} title="Layout" className=${shown ? 'on' : ''} label=${label}>
    ${(close) => {
      const choose = (name) => {
        close();
        setQuery({ ...OF_LAYOUT, layout: name });
      };
      return html`<button onClick=${() => choose(null)}>${icon('table')}Table</button>
        ${Object.entries(LAYOUTS).map(([name, { title, glyph, needs }]) => {
          const isPossible = listFitting(entity, name).length > 0;
          return html`<button key=${name} disabled=${!isPossible} onClick=${() => choose(name)}>
            ${icon(glyph)}<span class="grow">${title}</span>
            ${!isPossible && html`<small>needs ${needs}</small>`}
          </button>`;
        })}`;
    }}
  <//>`;
}

/**
 * A choice that is kept in the address.
 * @param {{label: string, name: string, choices: [string, string][], chosen?: string}} props
 */
export const AddressChoice = ({ label, name, choices, chosen }) => html`<label class="row">
  <span class="dim">${label}</span>
  <select onChange=${(event) => setQuery({ [name]: event.target.value || null })}>
    <${Options} choices=${choices} chosen=${chosen} />
  </select>
</label>`;

/** The choice of the field that a layout is by. */
export const ByChoice = ({ entity, layout, field }) => html`<${AddressChoice}
  label=${LAYOUTS[layout].label}
  name="by"
  choices=${listFitting(entity, layout).map((fitting) => [fitting.name, nameField(fitting)])}
  chosen=${field.name}
/>`;

/** Said where the field of a view is gone, is another one now, or may not be read. */
export function NoField({ entity, layout, name }) {
  const fitting = listFitting(entity, layout);
  const choices = fitting.map((field) => [field.name, nameField(field)]);
  const { title, needs, label } = LAYOUTS[layout];
  return html`<${Empty} title="This view does not fit the table any more" glyph="filter">
    ${name ? `“${name}” is no longer ${needs} of this table.` : `A ${title.toLowerCase()} needs ${needs}.`}
    ${
      fitting.length > 0 &&
      html`<p class="row">
        <${AddressChoice} label=${label} name="by" choices=${[['', '…'], ...choices]} chosen="" />
      </p>`
    }
  <//>`;
}
