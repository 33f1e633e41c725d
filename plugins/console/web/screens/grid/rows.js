/** The rows of a table, and editing in their cells. */
import { html, useRef, useState } from '../../core/kit.js';
import { nameField, toWords } from '../../core/store.js';
import { fail, icon } from '../../core/ui.js';
import { Control } from '../../form/control.js';
import { makeTitle } from '../../parts/titles.js';
import { Value, measureColumn, parseText, toText } from '../../parts/values.js';
import { FIGURES } from '../data/columns.js';

/** What a click on is not a click on the cell. */
const CONTROLS = 'a, input, select, .popup';

/**
 * @param {{grid: any, row: any, index: number}} props `grid` is what all rows share, see grid.js.
 */
export function Row({ grid, row, index }) {
  const { entity, fields, widths, cursor, selection, marks, act } = grid;
  const isChosen = selection.ids.has(row.id);
  const chosen = isChosen ? 'chosen' : '';
  const current = index === cursor.row ? 'at' : '';
  const title = makeTitle(entity, row);
  return html`<div
    class="gr ${chosen} ${current} ${marks.get(row.id) ?? ''}"
    role="row"
    aria-rowindex=${index + 2}
    aria-selected=${isChosen}
    ref=${layRow(widths, index * HEIGHT)}
  >
    <div class="gc pick" role="gridcell">
      <input
        type="checkbox"
        tabindex="-1"
        aria-label="Select the row"
        checked=${isChosen}
        onClick=${(event) => act.pick(index, event.shiftKey)}
      />
      <button
        class="quiet icon small"
        tabindex="-1"
        title=${`Open ${title}`}
        aria-label=${`Open ${title}`}
        onClick=${() => act.open(row)}
      >
        ${icon('right')}
      </button>
    </div>
    ${fields.map(
      (field, col) => html`<${Cell}
        key=${field.name}
        grid=${grid}
        row=${row}
        index=${index}
        field=${field}
        col=${col}
      />`,
    )}
  </div>`;
}

function Cell({ grid, row, index, field, col }) {
  const { appId, titles, cursor, block, editing, act } = grid;
  const isCurrent = index === cursor.row && col === cursor.col;
  const isRanged = cursor.from && isInBlock(block, index, col);
  const isEdited = editing && editing.id === row.id && editing.name === field.name;
  const look = [alignColumn(field), isCurrent ? 'cur' : '', isRanged ? 'ranged' : ''];
  const point = (event) => {
    if (event.target.closest(CONTROLS)) return;
    event.preventDefault();
    act.point(index, col, event.shiftKey);
  };
  const edit = (event) => {
    if (!event.target.closest(CONTROLS)) act.edit(index, col);
  };
  const value = row[field.name];
  const content = isEdited
    ? html`<${Editor}
        key=${editing.round}
        field=${field}
        value=${value}
        appId=${appId}
        refused=${editing.refused}
        finish=${act.finish}
      />`
    : html`<${Value} field=${field} value=${value} title=${titles[value]} appId=${appId} />`;
  return html`<div
    class=${`gc ${look.join(' ')}`}
    role="gridcell"
    id=${`c-${index}-${col}`}
    onMouseDown=${point}
    onDblClick=${edit}
  >
    ${content}
  </div>`;
}

// --- the first row and the last one

const LONG_FRACTION = /(\.\d{4})\d+$/;
export const alignColumn = (field) => (field.type === 'number' ? 'num' : '');

/**
 * @param {{fields: any[], widths: string, sorting: any, headMenu: (field: any) => any,
 *   isAllChosen: boolean, toggleAll: () => void, addColumn?: () => void}} props
 */
export function HeadRow({ fields, widths, sorting, headMenu, isAllChosen, toggleAll, addColumn }) {
  return html`<div class="gr gh" role="row" aria-rowindex="1" ref=${layRow(widths)}>
    <div class="gc pick" role="columnheader">
      <input
        type="checkbox"
        tabindex="-1"
        aria-label="Select all shown"
        checked=${isAllChosen}
        onChange=${toggleAll}
      />
    </div>
    ${fields.map(
      (field) => html`<${ColumnHead}
        key=${field.name}
        field=${field}
        sorting=${sorting}
        menu=${headMenu(field)}
      />`,
    )}
    ${
      addColumn &&
      html`<div class="gc add" role="columnheader">
        <button
          class="quiet icon"
          tabindex="-1"
          title="New column (c)"
          aria-label="New column"
          onClick=${addColumn}
        >
          ${icon('plus')}
        </button>
      </div>`
    }
  </div>`;
}

function ColumnHead({ field, sorting, menu }) {
  const isSorted = sorting.name === field.name;
  const isAscending = sorting.order === 'asc';
  const direction = isAscending ? 'ascending' : 'descending';
  return html`<div
    class="gc ${alignColumn(field)}"
    role="columnheader"
    data-column=${field.name}
    aria-sort=${isSorted ? direction : undefined}
  >
    <button
      class="quiet"
      tabindex="-1"
      title=${`Sort by ${field.name}`}
      onClick=${() => sorting.change(field.name)}
    >
      <span class="cut">${nameField(field)}</span>
      ${isSorted && icon(isAscending ? 'up' : 'down')}
    </button>
    ${menu}
  </div>`;
}

/** A figure below each column that has one. */
export function FootRow({ fields, figures, widths }) {
  return html`<div class="gr gf" role="row" ref=${layRow(widths)}>
    <div class="gc pick" role="gridcell" />
    ${fields.map(
      (field) => html`<div class="gc ${alignColumn(field)}" role="gridcell" key=${field.name}>
        <${Figure} figure=${figures[field.name]} />
      </div>`,
    )}
  </div>`;
}

function Figure({ figure }) {
  if (!figure) return null;
  const [kind, value] = figure;
  const { short } = FIGURES.find(({ name }) => name === kind) ?? {};
  if (!short) return null;
  const text = String(value ?? '–').replace(LONG_FRACTION, '$1');
  return html`<small>${short}</small><b class="cut" title=${text}>${text}</b>`;
}

// --- where rows and columns are. Styles are set through the object model: the policy of the page
// allows no style attribute.

/** Height of a row in pixels; `--row` of the style. */
export const HEIGHT = 33;
/** Width of the first column, which selects and opens a row. */
const PICK = 62;
/** Rows that are drawn above and below those in sight. */
const MARGIN = 8;
/** Pixels that stay free below the row that is scrolled to. */
const FREE = 12;

export const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

/** The widths of all columns, as a grid has them. */
export function writeWidths(fields) {
  const widths = fields.map((field) => `${measureColumn(field)}px`);
  return `${PICK}px ${widths.join(' ')} minmax(0,1fr)`;
}

/** The first row that is drawn, and the one behind the last. */
export function findDrawnRows({ top, height }, count) {
  return {
    first: Math.max(0, Math.floor(top / HEIGHT) - MARGIN),
    end: Math.min(count, Math.ceil((top + height) / HEIGHT) + MARGIN),
  };
}

/** A `ref` that lays a row out. */
export const layRow = (widths, top) => (element) => {
  if (!element) return;
  element.style.gridTemplateColumns = widths;
  if (top !== undefined) element.style.transform = `translateY(${top}px)`;
};

/** A `ref` that gives the rows the height of all, drawn or not. */
export const makeTall = (count) => (element) => {
  if (element) element.style.height = `${count * HEIGHT}px`;
};

/** Scroll until a cell is in sight. */
export function reveal(box, { row, col }, fields) {
  const top = row * HEIGHT;
  const bottom = top + 2 * HEIGHT;
  if (top < box.scrollTop) {
    box.scrollTop = top;
  } else if (bottom > box.scrollTop + box.clientHeight) {
    box.scrollTop = bottom + FREE - box.clientHeight;
  }
  const left = fields.slice(0, col).reduce((sum, field) => sum + measureColumn(field), PICK);
  const right = left + measureColumn(fields[col]);
  if (left < box.scrollLeft + PICK) {
    box.scrollLeft = left - PICK;
  } else if (right > box.scrollLeft + box.clientWidth) {
    box.scrollLeft = right - box.clientWidth;
  }
}

/** The block of cells between the one where a selection began (`from`) and the current one. */
export function findBlock({ row, col, from }) {
  const start = from ?? { row, col };
  return {
    top: Math.min(row, start.row),
    bottom: Math.max(row, start.row),
    left: Math.min(col, start.col),
    right: Math.max(col, start.col),
  };
}

export const isInBlock = (block, row, col) =>
  row >= block.top && row <= block.bottom && col >= block.left && col <= block.right;

// --- editing in a cell, where Enter or leaving saves and Escape does not

/** Types that are edited in their cell; others open the record. */
const TYPES = ['text', 'number', 'boolean', 'date', 'timestamp', 'uuid', 'entity_link'];
const LONGEST = 400;

export const isEditable = (field) => !field.system && !field.locked && TYPES.includes(field.type);
/** Whether a value is short enough for its cell. */
export const fitsCell = (value) => String(value ?? '').length <= LONGEST;

/**
 * @param {{field: any, value: any, appId: string, refused?: {text: string, problem: string},
 *   finish: (text?: string) => void}} props `refused` is what was typed before and not accepted;
 *   `finish` gets no text where nothing is to be saved.
 */
export function Editor({ field, value, appId, refused, finish }) {
  const [text, setText] = useState(refused?.text ?? toText(field, value));
  const isOver = useRef(false);
  const end = (result) => {
    if (isOver.current) return;
    isOver.current = true;
    finish(result);
  };
  const isChoice = field.references || field.enum_values?.length || field.type === 'boolean';
  const change = (typed) => {
    setText(typed);
    if (isChoice) end(typed);
  };
  const press = (event) => {
    const isEnd = event.key === 'Enter' || event.key === 'Escape';
    if (!isEnd) return;
    event.preventDefault();
    event.stopPropagation();
    end(event.key === 'Enter' ? text : undefined);
  };
  const blur = (event) => {
    const isInside = event.currentTarget.contains(event.relatedTarget);
    // What was refused would be again: it stays to be corrected, or to be given up by Escape.
    const isRefused = refused && text === refused.text;
    if (!field.references && !isInside && !isRefused) end(text);
  };
  return html`<div
    class="celledit ${refused ? 'refused' : ''}"
    title=${refused?.problem}
    onKeyDown=${press}
    onFocusOut=${blur}
  >
    <${Control}
      id="cell"
      label=${toWords(field.name)}
      field=${field}
      value=${text}
      onChange=${change}
      appId=${appId}
      autofocus
      onCancel=${() => end()}
    />
  </div>`;
}

// --- which cell is edited, and saving what was typed in it

/**
 * @param {{current: any}} box @param {any[]} rows @param {any[]} fields
 * @param {(row: any, change: object) => Promise<void>} save
 * @returns {{editing: any, edit: (row: any, field: any) => boolean,
 *   finish: (text?: string) => Promise<void>}} `edit` returns false for a cell that has no editor.
 */
export function useEditing(box, rows, fields, save) {
  /** The cell by the id of its row and the name of its field; `refused` is what was not accepted. */
  const [editing, setEditing] = useState(null);
  const edit = (row, field) => {
    if (editing?.refused) {
      box.current.querySelector('.celledit input')?.focus();
      return true;
    }
    const hasEditor = isEditable(field) && fitsCell(row[field.name]);
    if (hasEditor) setEditing({ id: row.id, name: field.name, round: 0 });
    return hasEditor;
  };
  /** Save what was typed. What is refused comes back into its cell, to be corrected. */
  const finish = async (text) => {
    const row = rows.find((candidate) => candidate.id === editing.id);
    const field = fields.find((candidate) => candidate.name === editing.name);
    setEditing(null);
    box.current.focus({ preventScroll: true });
    const isChanged = row && text !== undefined && text !== toText(field, row[field.name]);
    if (!isChanged) return;
    try {
      await save(row, { [field.name]: parseText(field, text) });
    } catch (error) {
      fail(error);
      const refused = { text, problem: error.message };
      setEditing((later) => later ?? { ...editing, round: editing.round + 1, refused });
    }
  };
  return { editing, edit, finish };
}

// --- cells as text of a spreadsheet: a line for each row, tabs between the cells

/** A block of cells as text. */
export function writeBlock(rows, fields, block) {
  const columns = fields.slice(block.left, block.right + 1);
  const writeCell = (row, field) => toText(field, row[field.name]).replace(/[\t\n]/g, ' ');
  const lines = rows
    .slice(block.top, block.bottom + 1)
    .map((row) => columns.map((field) => writeCell(row, field)).join('\t'));
  return lines.join('\n');
}

/**
 * What a text changes from a cell on: `[row, change]` pairs. What does not fit into the table, or
 * cannot be edited, is left out.
 * @returns {[row: any, change: object][]}
 */
export function readBlock(text, rows, fields, start) {
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  const pairs = [];
  for (const [offset, line] of lines.entries()) {
    const row = rows[start.row + offset];
    if (!row) break;
    const change = readLine(line, row, fields.slice(start.col));
    if (Object.keys(change).length) pairs.push([row, change]);
  }
  return pairs;
}

function readLine(line, row, fields) {
  const change = {};
  for (const [index, text] of line.split('\t').entries()) {
    const field = fields[index];
    const isOther = field && isEditable(field) && toText(field, row[field.name]) !== text;
    if (isOther) change[field.name] = parseText(field, text);
  }
  return change;
}
