/** The rows of a table: its head, its records, and its figures. */
import { html } from '../../core/kit.js';
import { nameField } from '../../core/store.js';
import { icon } from '../../core/ui.js';
import { makeTitle } from '../../parts/titles.js';
import { FIGURES } from '../data/columns.js';
import { Cell, alignColumn } from './cell.js';
import { HEIGHT, layRow } from './layout.js';

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

// --- the first row and the last one

const LONG_FRACTION = /(\.\d{4})\d+$/;
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
