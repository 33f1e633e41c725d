/** The rows of a table: those of records, the first with the names of columns, the last with figures. */
import { html } from '../../core/kit.js';
import { nameField } from '../../core/store.js';
import { icon } from '../../core/ui.js';
import { makeTitle } from '../../parts/titles.js';
import { Value, measureColumn } from '../../parts/values.js';
import { FIGURES } from '../data/columns.js';
import { Editor } from './cells.js';

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
