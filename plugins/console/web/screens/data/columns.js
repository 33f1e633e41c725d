/** The columns of a table: which are shown is kept in the database for the user; each has a menu. */
import { html, useState } from '../../core/kit.js';
import { route, setQuery } from '../../core/router.js';
import { Menu } from '../../core/screen.js';
import { findApp, saveSetting, settings, toWords } from '../../core/store.js';
import { fail, icon, useLoad } from '../../core/ui.js';
import { listFields } from '../../parts/values.js';
import { openBuilder } from '../builder/open.js';
import { loadValues } from './rows.js';

/** Columns of a table for which none were chosen. */
const FIRST_COLUMNS = 9;
/** Fields of the list of those that are not shown, and from when on it can be searched. */
const MOST_LISTED = 60;
const SEARCHED = 20;

const buildKey = (appId, entity) => `columns:${appId}.${entity.name}`;
const matches = (name, text) => toWords(name).toLowerCase().includes(text.toLowerCase());

/** The fields to show; those that the app no longer has are left out. */
export function chooseFields(appId, entity, chosen) {
  const everyField = listFields(entity);
  const names = chosen ?? settings.value[buildKey(appId, entity)] ?? [];
  const fields = names.map((name) => everyField.find((field) => field.name === name));
  const present = fields.filter(Boolean);
  if (present.length) return present;
  const plain = entity.fields.filter((field) => field.type !== 'json');
  return [...plain.slice(0, FIRST_COLUMNS), everyField.at(-1)];
}

/** Show a table without a column. */
export function hideColumn(appId, entity, name) {
  const chosen = route.value.query.columns?.split(',');
  const shown = chooseFields(appId, entity, chosen).map((field) => field.name);
  saveSetting(
    buildKey(appId, entity),
    shown.filter((other) => other !== name),
  );
  if (chosen) setQuery({ columns: null });
}

export function Columns({ appId, entity, close }) {
  const everyField = listFields(entity);
  const [names, setNames] = useState(() => chooseFields(appId, entity).map((field) => field.name));
  const [text, setText] = useState('');
  const finish = (chosen) => {
    saveSetting(buildKey(appId, entity), chosen);
    close();
  };
  const save = (event) => {
    event.preventDefault();
    finish(names.length ? names : null);
  };
  const hide = (name) => setNames(names.filter((other) => other !== name));
  const move = (index, step) => {
    const moved = [...names];
    const [name] = moved.splice(index, 1);
    moved.splice(index + step, 0, name);
    setNames(moved);
  };
  const hidden = everyField
    .map((field) => field.name)
    .filter((name) => !names.includes(name) && matches(name, text));
  return html`<form onSubmit=${save}>
    <h2>Columns</h2>
    <ul class="plain columns">
      ${names.map(
        (name, index) => html`<${ShownColumn}
          key=${name}
          name=${name}
          isFirst=${index === 0}
          isLast=${index === names.length - 1}
          move=${(step) => move(index, step)}
          hide=${() => hide(name)}
        />`,
      )}
    </ul>
    <h3>Not shown</h3>
    ${
      everyField.length > SEARCHED &&
      html`<input
        aria-label="Find a field"
        placeholder="Find a field"
        value=${text}
        onInput=${(event) => setText(event.target.value)}
      />`
    }
    <ul class="plain columns">
      ${hidden.slice(0, MOST_LISTED).map(
        (name) => html`<li key=${name}>
          <label class="row">
            <input type="checkbox" onChange=${() => setNames([...names, name])} />
            ${toWords(name)}
          </label>
        </li>`,
      )}
    </ul>
    <div class="actions">
      <button type="button" class="quiet" onClick=${() => finish(null)}>Reset</button>
      <span class="grow" />
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Save</button>
    </div>
  </form>`;
}

function ShownColumn({ name, isFirst, isLast, move, hide }) {
  return html`<li class="row">
    <label class="row grow">
      <input type="checkbox" checked onChange=${hide} />
      ${toWords(name)}
    </label>
    <button
      type="button"
      class="quiet icon small"
      aria-label=${`Move ${name} up`}
      disabled=${isFirst}
      onClick=${() => move(-1)}
    >
      ${icon('up')}
    </button>
    <button
      type="button"
      class="quiet icon small"
      aria-label=${`Move ${name} down`}
      disabled=${isLast}
      onClick=${() => move(1)}
    >
      ${icon('down')}
    </button>
  </li>`;
}

// --- the menu of a column: its values with their counts, conditions on it, and a figure below it

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
