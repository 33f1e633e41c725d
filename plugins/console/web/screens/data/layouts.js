/** The forms that the records of a table can be seen in, and the menu that chooses one. */
import { html } from '../../core/kit.js';
import { setQuery } from '../../core/router.js';
import { Menu } from '../../core/screen.js';
import { nameField } from '../../core/store.js';
import { Empty, icon } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { isManaged, listFields } from '../../parts/values.js';

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
