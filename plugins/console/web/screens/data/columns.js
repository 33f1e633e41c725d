/**
 * The columns of a table. Which are shown, in which order and how wide, is kept in the view where the
 * address has it, else in the database for the user. Each has a menu.
 */
import { html, useState } from '../../core/kit.js';
import { setQuery } from '../../core/router.js';
import { Menu } from '../../core/screen.js';
import { findApp, saveSetting, settings, toWords } from '../../core/store.js';
import { IconButton, fail, icon, useLoad } from '../../core/ui.js';
import { listFields, measureColumn } from '../../parts/values.js';
import { openBuilder } from '../builder/open.js';
import { isGrouping, listTerms, readTerms, setTerms } from './order.js';
import { loadValues } from './rows.js';

/** Columns of a table for which none were chosen. */
const FIRST_COLUMNS = 9;
/** Fields of the list of those that are not shown, and from when on it can be searched. */
const MOST_LISTED = 60;
const SEARCHED = 20;

/** Widths that a column can have, and what a step of the menu changes, in pixels. */
const NARROWEST = 48;
const WIDEST = 1200;
const STEP = 24;
/** Width of the first column on a phone, beside which others are seen, and that of a phone. */
const FIRST_ON_PHONE = 150;
export const isPhone = () => innerWidth <= 760;

const buildKey = (appId, entity) => `columns:${appId}.${entity.name}`;
const buildWidthsKey = (appId, entity) => `widths:${appId}.${entity.name}`;
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

/** Widths that the user gave to columns, by their names. @param {string} [text] of the address */
export function readWidths(appId, entity, text) {
  if (!text) return settings.value[buildWidthsKey(appId, entity)] ?? {};
  const pairs = text.split(',').map((pair) => pair.split('.'));
  return Object.fromEntries(pairs.map(([name, width]) => [name, Number(width) || undefined]));
}

/** Widths as an address has them; nothing where there are none. */
export const writeWidths = (widths) =>
  Object.entries(widths)
    .map((pair) => pair.join('.'))
    .join(',') || undefined;

/**
 * The columns of a table with their widths, and what changes them.
 * @returns {{fields: any[], show: (names: string[]) => void, reset: () => void,
 *   move: (name: string, index: number) => void,
 *   widen: (name: string, width: number|null, isOver: boolean) => void}} `move` puts a column before
 *   the one at an index; `widen` follows a pointer until `isOver`, and null is the usual width.
 */
export function useColumns(appId, entity, address) {
  /** Of the column that is being widened. */
  const [drag, setDrag] = useState(null);
  const storedWidths = readWidths(appId, entity, address.widths);
  const widths = { ...storedWidths, ...drag };
  const isNarrow = isPhone();
  const fields = chooseFields(appId, entity, address.columns?.split(',')).map((field, index) => {
    const width = widths[field.name] ?? measureColumn(field);
    const isCut = isNarrow && index === 0;
    return { ...field, width: isCut ? Math.min(FIRST_ON_PHONE, width) : width };
  });
  const names = fields.map((field) => field.name);

  const show = (chosen) => {
    if (address.columns) setQuery({ columns: chosen.join(',') }, { replace: true });
    else saveSetting(buildKey(appId, entity), chosen);
  };
  const reset = () => {
    setQuery({ columns: null, widths: null });
    saveSetting(buildKey(appId, entity), null);
    saveSetting(buildWidthsKey(appId, entity), null);
  };
  const move = (name, index) => {
    const from = names.indexOf(name);
    const place = index > from ? index - 1 : index;
    const isMoved = place !== from && place >= 0 && place < names.length;
    if (isMoved) show(names.toSpliced(from, 1).toSpliced(place, 0, name));
  };
  const widen = (name, width, isOver) => {
    const bounded = width && Math.round(Math.max(NARROWEST, Math.min(WIDEST, width)));
    setDrag(isOver ? null : { [name]: bounded });
    if (!isOver) return;
    const { [name]: former, ...others } = storedWidths;
    const changed = bounded ? { ...others, [name]: bounded } : others;
    if (address.widths) setQuery({ widths: writeWidths(changed) }, { replace: true });
    else saveSetting(buildWidthsKey(appId, entity), changed);
  };
  return { fields, show, reset, move, widen };
}

/** @param {{entity: any, columns: any, close: () => void}} props */
export function Columns({ entity, columns, close }) {
  const everyField = listFields(entity);
  const [names, setNames] = useState(() => columns.fields.map((field) => field.name));
  const [text, setText] = useState('');
  const reset = () => {
    columns.reset();
    close();
  };
  const save = (event) => {
    event.preventDefault();
    if (!names.length) {
      reset();
      return;
    }
    columns.show(names);
    close();
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
  const rest = hidden.length - MOST_LISTED;
  const showAll = () => setNames([...names, ...hidden]);
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
    <div class="row">
      <h3 class="grow">Not shown (${hidden.length})</h3>
      ${
        hidden.length > 0 &&
        html`<button type="button" class="link" onClick=${showAll}>Show all</button>`
      }
    </div>
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
    ${rest > 0 && html`<p class="dim">${rest} more: find them by name.</p>`}
    <div class="actions">
      <button type="button" class="quiet" onClick=${reset}>Reset</button>
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
    <${IconButton}
      isSmall
      glyph="up"
      label=${`Move ${name} up`}
      disabled=${isFirst}
      onClick=${() => move(-1)}
    />
    <${IconButton}
      isSmall
      glyph="down"
      label=${`Move ${name} down`}
      disabled=${isLast}
      onClick=${() => move(1)}
    />
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
 * @param {{appId: string, entity: any, field: any, address: any, columns: any, query: any,
 *   quick: boolean, figure?: string,
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

function Choices({ appId, entity, field, query, quick, add, filter, close, ...props }) {
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
        ${rows !== undefined && html`<small class="num">${rows.toLocaleString()}</small>`}
      </button>`,
  )}
    ${!counted.data && html`<button class="dim" onClick=${count}>Count each</button>`}
    <hr />
    <button onClick=${() => pick({ $isNull: true })}>is empty</button>
    <button onClick=${() => pick({ $isNull: false })}>is not empty</button>
    <button onClick=${compose}>${icon('filter')}Condition…</button>
    <hr />
    <${OrderSteps} field=${field} address=${props.address} close=${close} />
    <hr />
    <${FigureChoices}
      field=${field}
      figure=${props.figure}
      setFigure=${props.setFigure}
      close=${close}
    />
    <hr />
    <${PlaceSteps} field=${field} columns=${props.columns} close=${close} />
    <${BuilderSteps} appId=${appId} entity=${entity} field=${field} close=${close} />`;
}

/** Sorting by a column, alone or after others, and grouping by it. */
function OrderSteps({ field, address, close }) {
  const { name } = field;
  const others = readTerms(address).filter((term) => term.name !== name);
  const isSorted = listTerms(address).some((term) => term.name === name);
  const isGrouped = address.group === name;
  const closing = (run) => () => {
    close();
    run();
  };
  const sort = (terms, order) => closing(() => setTerms([...terms, { name, order }]));
  const group = closing(() => setQuery({ group: isGrouped ? null : name, folded: null }));
  return html`<button onClick=${sort([], 'asc')}>${icon('up')}Sort ascending</button>
    <button onClick=${sort([], 'desc')}>${icon('down')}Sort descending</button>
    ${
      others.length > 0 &&
      html`<button onClick=${sort(others, 'asc')}>${icon('up')}Then by it, ascending</button>
        <button onClick=${sort(others, 'desc')}>${icon('down')}Then by it, descending</button>`
    }
    ${
      isSorted &&
      address.sort &&
      html`<button onClick=${closing(() => setTerms(others))}>${icon('x')}Do not sort by it</button>`
    }
    ${
      isGrouping(field) &&
      html`<button aria-pressed=${isGrouped} onClick=${group}>
        ${icon('board')}${isGrouped ? 'Do not group by it' : 'Group by it'}
      </button>`
    }`;
}

/** Where a column is and how wide: for the user, or in the view. Some steps leave the menu open. */
function PlaceSteps({ field, columns, close }) {
  const { fields, move, widen, show } = columns;
  const { name } = field;
  const names = fields.map((other) => other.name);
  const index = names.indexOf(name);
  const width = fields[index].width;
  /** The browser forgets the focus of what moves. */
  const moveTo = (event, place) => {
    const button = event.currentTarget;
    move(name, place);
    requestAnimationFrame(() => button.focus());
  };
  const closing = (run) => () => {
    close();
    run();
  };
  return html`<button disabled=${index === 0} onClick=${(event) => moveTo(event, index - 1)}>
      ${icon('left')}Move left
    </button>
    <button
      disabled=${index === names.length - 1}
      onClick=${(event) => moveTo(event, index + 2)}
    >
      ${icon('right')}Move right
    </button>
    <button onClick=${() => widen(name, width + STEP, true)}>Wider</button>
    <button onClick=${() => widen(name, width - STEP, true)}>Narrower</button>
    <button onClick=${closing(() => widen(name, null, true))}>Usual width</button>
    <button
      disabled=${names.length === 1}
      onClick=${closing(() => show(names.filter((other) => other !== name)))}
    >
      Hide
    </button>`;
}

/** What a column offers to admins of the app: its name, type and place for all. */
function BuilderSteps({ appId, entity, field, close }) {
  const open = (name, ...more) => {
    close();
    openBuilder(name, appId, entity.name, field.name, ...more);
  };
  const isBuilder = findApp(appId)?.admin && !field.system;
  if (!isBuilder) return null;
  return html`<hr />
    <button onClick=${() => open('renameColumn')}>${icon('edit')}Rename…</button>
    <button onClick=${() => open('changeColumn')}>Type and rules…</button>
    <button onClick=${() => open('moveColumn', -1)}>${icon('left')}Move left for all…</button>
    <button onClick=${() => open('moveColumn', 1)}>${icon('right')}Move right for all…</button>
    <button onClick=${() => open('removeColumn')}>${icon('trash')}Remove…</button>`;
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
