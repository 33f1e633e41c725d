/** The menu of a column: its values with their counts, conditions on it, and a figure below it. */
import { html } from '../../core/kit.js';
import { Menu, icon, useLoad } from '../../core/ui.js';
import { valuesOf } from './rows.js';

/** Figures that can be shown below a column: id, words, short, and the types that have them. */
export const FIGURES = [
  ['sum', 'Sum', 'Sum', ['number']],
  ['avg', 'Average', 'Avg', ['number']],
  ['min', 'Smallest', 'Min', ['number', 'date', 'timestamp', 'text']],
  ['max', 'Largest', 'Max', ['number', 'date', 'timestamp', 'text']],
  ['countDistinct', 'Different values', 'Different', null],
];

/**
 * @param {{appId: string, entity: any, field: any, query: any, quick: boolean, figure?: string,
 *   add: (condition: object) => void, filter: (start: object) => void,
 *   setFigure: (name: string|null) => void}} props
 */
export function HeadMenu({ field, ...props }) {
  return html`<${Menu}
    className="quiet icon small"
    title=${`Filter by ${field.name}`}
    label=${icon('down')}
    align="end"
  >
    ${(close) => html`<${Choices} field=${field} ...${props} close=${close} />`}
  <//>`;
}

function Choices({ appId, entity, field, query, quick, figure, add, filter, setFigure, close }) {
  const few = field.enum_values?.length > 0 || field.type === 'boolean' || field.references;
  const counted = useLoad(
    () => (few && quick ? valuesOf(appId, entity, field, query) : null),
    [field.name],
  );
  const known = field.enum_values?.length ? field.enum_values : BOOLEAN[field.type];
  const plain = known?.map((value) => ({ value, title: value }));
  const values = counted.data ?? plain ?? [];
  const pick = (condition) => () => {
    close();
    add({ [field.name]: condition });
  };
  const ask = () => valuesOf(appId, entity, field, query).then(counted.set);
  const start = field.type === 'text' && !few ? { $ilike: '%%' } : { $eq: '' };
  const kinds = FIGURES.filter(([, , , types]) => !types || types.includes(field.type));
  return html`${values.map(
    ({ value, title, n }) => html`<button
        key=${title}
        onClick=${pick(value === null ? { $isNull: true } : { $eq: value })}
      >
        <span class="grow cut">${title}</span>
        ${n !== undefined && html`<small class="num">${n}</small>`}
      </button>`,
  )}
    ${!counted.data && html`<button class="dim" onClick=${ask}>Count each</button>`}
    <hr />
    <button onClick=${pick({ $isNull: true })}>is empty</button>
    <button onClick=${pick({ $isNull: false })}>is not empty</button>
    <button
      onClick=${() => {
        close();
        filter({ [field.name]: start });
      }}
    >
      ${icon('filter')}Condition…
    </button>
    <hr />
    ${kinds.map(
      ([name, title]) => html`<button
        key=${name}
        aria-pressed=${figure === name}
        onClick=${() => {
          close();
          setFigure(figure === name ? null : name);
        }}
      >
        <span class="grow">${title}</span>${figure === name && icon('check')}
      </button>`,
    )}`;
}

const BOOLEAN = { boolean: ['true', 'false'] };
