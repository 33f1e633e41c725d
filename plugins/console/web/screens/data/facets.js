/** The menu of a column: its values with their counts, conditions on it, and a figure below it. */
import { html } from '../../core/kit.js';
import { Menu } from '../../core/menu.js';
import { fail, icon, useLoad } from '../../core/ui.js';
import { findApp } from '../../core/store.js';
import { openBuilder } from '../builder/open.js';
import { hideColumn } from './columns.js';
import { loadValues } from './rows.js';

const ORDERED = ['number', 'date', 'timestamp', 'text'];
/** Figures that can be shown below a column; without `types` a column of any type has it. */
export const FIGURES = [
  { name: 'sum', title: 'Sum', short: 'Sum', types: ['number'] },
  { name: 'avg', title: 'Average', short: 'Avg', types: ['number'] },
  { name: 'min', title: 'Smallest', short: 'Min', types: ORDERED },
  { name: 'max', title: 'Largest', short: 'Max', types: ORDERED },
  { name: 'countDistinct', title: 'Different values', short: 'Different' },
];
const ANSWERS = ['true', 'false'];

/**
 * @param {{appId: string, entity: any, field: any, query: any, quick: boolean, figure?: string,
 *   add: (condition: object) => void, filter: (start: object) => void,
 *   setFigure: (name: string|null) => void}} props `quick` says that all rows are loaded, so that
 *   counting costs little.
 */
export function HeadMenu({ field, ...props }) {
  return html`<${Menu}
    className="quiet icon small"
    title=${`Filter by ${field.name}`}
    tabindex=${-1}
    label=${icon('down')}
    align="end"
  >
    ${(close) => html`<${Choices} field=${field} ...${props} close=${close} />`}
  <//>`;
}

/** The values that are known without asking the server. */
function listPlainValues(field) {
  if (field.enum_values?.length) return field.enum_values;
  return field.type === 'boolean' ? ANSWERS : [];
}

function Choices({ appId, entity, field, query, quick, figure, add, filter, setFigure, close }) {
  const plain = listPlainValues(field);
  const hasFew = plain.length > 0 || Boolean(field.references);
  const loadCounts = () => loadValues(appId, entity, field, query);
  const counted = useLoad(() => (hasFew && quick ? loadCounts() : null), [field.name]);
  const values = counted.data ?? plain.map((value) => ({ value, title: value }));
  const count = () => loadCounts().then(counted.set, fail);
  const pick = (condition) => {
    close();
    add({ [field.name]: condition });
  };
  const pickValue = (value) => pick(value === null ? { $isNull: true } : { $eq: value });
  const compose = () => {
    close();
    const isFreeText = field.type === 'text' && !hasFew;
    filter({ [field.name]: isFreeText ? { $ilike: '%%' } : { $eq: '' } });
  };
  return html`${values.map(
    ({ value, title, count: rows }) => html`<button key=${title} onClick=${() => pickValue(value)}>
        <span class="grow cut">${title}</span>
        ${rows !== undefined && html`<small class="num">${rows}</small>`}
      </button>`,
  )}
    ${!counted.data && html`<button class="dim" onClick=${count}>Count each</button>`}
    <hr />
    <button onClick=${() => pick({ $isNull: true })}>is empty</button>
    <button onClick=${() => pick({ $isNull: false })}>is not empty</button>
    <button onClick=${compose}>${icon('filter')}Condition…</button>
    <hr />
    <${FigureChoices} field=${field} figure=${figure} setFigure=${setFigure} close=${close} />
    <${ColumnSteps} appId=${appId} entity=${entity} field=${field} close=${close} />`;
}

/** What a column offers: to hide it, and to admins of the app its name, type and place. */
function ColumnSteps({ appId, entity, field, close }) {
  const open = (name, ...more) => {
    close();
    openBuilder(name, appId, entity.name, field.name, ...more);
  };
  const hide = () => {
    close();
    hideColumn(appId, entity, field.name);
  };
  const isBuilder = findApp(appId)?.admin && !field.system;
  return html`<hr />
    <button onClick=${hide}>Hide</button>
    ${
      isBuilder &&
      html`<button onClick=${() => open('renameColumn')}>${icon('edit')}Rename…</button>
        <button onClick=${() => open('changeColumn')}>Type and rules…</button>
        <button onClick=${() => open('moveColumn', -1)}>${icon('left')}Move left…</button>
        <button onClick=${() => open('moveColumn', 1)}>${icon('right')}Move right…</button>
        <button onClick=${() => open('removeColumn')}>${icon('trash')}Remove…</button>`
    }`;
}

function FigureChoices({ field, figure, setFigure, close }) {
  const fitting = FIGURES.filter(({ types }) => !types || types.includes(field.type));
  return fitting.map(({ name, title }) => {
    const isShown = figure === name;
    const toggle = () => {
      close();
      setFigure(isShown ? null : name);
    };
    return html`<button key=${name} aria-pressed=${isShown} onClick=${toggle}>
      <span class="grow">${title}</span>${isShown && icon('check')}
    </button>`;
  });
}
