/** The first row of a table and the last one: heads that sort, are dragged and widened, and figures. */
import { html, useRef, useState } from '../../core/kit.js';
import { nameField } from '../../core/store.js';
import { IconButton, icon } from '../../core/ui.js';
import { formatAmount, measureColumn } from '../../parts/values.js';
import { FIGURES } from '../data/columns.js';
import { alignColumn } from './rows.js';
import { layRow } from './layout.js';

/** Pixels that the pointer moves before a head is dragged, and not clicked. */
const DRAGGED = 6;

/**
 * @param {{fields: any[], widths: string, sorting: any, columns: any,
 *   headMenu: (field: any) => any, isAllChosen: boolean, toggleAll: () => void,
 *   addColumn?: () => void}} props `columns` moves and widens them, see `useColumns`
 */
export function HeadRow(props) {
  const { fields, widths, sorting, columns, headMenu, isAllChosen, toggleAll, addColumn } = props;
  const row = useRef(null);
  const { target, isDragged, begin } = useDragging(row, columns.move);
  const lay = layRow(widths);
  const hold = (element) => {
    row.current = element;
    lay(element);
  };
  return html`<div class="gr gh" role="row" aria-rowindex="1" ref=${hold}>
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
      (field, index) => html`<${ColumnHead}
        key=${field.name}
        field=${field}
        sorting=${sorting}
        columns=${columns}
        edge=${findEdge(target, index, fields.length)}
        drag=${(event) => begin(event, field.name)}
        isDragged=${isDragged}
        menu=${headMenu(field)}
      />`,
    )}
    ${
      addColumn &&
      html`<div class="gc add" role="columnheader">
        <${IconButton}
          glyph="plus"
          label="New column"
          title="New column (Alt C)"
          tabindex="-1"
          onClick=${addColumn}
        />
      </div>`
    }
  </div>`;
}

/** The edge of a head where a column that is dragged would be put. */
function findEdge(target, index, count) {
  if (target === index) return 'before';
  return target === count && index === count - 1 ? 'behind' : '';
}

function ColumnHead({ field, sorting, columns, edge, drag, isDragged, menu }) {
  const { terms } = sorting;
  const place = terms.findIndex(({ name }) => name === field.name);
  const order = terms[place]?.order;
  const direction = order && `${order}ending`;
  const isFirst = place === 0;
  const sort = (event) => {
    if (!isDragged()) sorting.change(field.name, event.shiftKey);
  };
  const title = direction
    ? `Sorted ${direction}${terms.length > 1 ? `, ${place + 1} of ${terms.length}` : ''}`
    : `Sort by ${field.name}; with Shift by several`;
  return html`<div
    class="gc ${alignColumn(field)} ${edge}"
    role="columnheader"
    data-column=${field.name}
    aria-sort=${isFirst ? direction : undefined}
  >
    <button class="quiet" tabindex="-1" title=${title} onClick=${sort} onPointerDown=${drag}>
      <span class="cut">${nameField(field)}</span>
      ${direction && icon(order === 'asc' ? 'up' : 'down')}
      ${direction && terms.length > 1 && html`<small>${place + 1}</small>`}
    </button>
    ${menu}
    <i
      class="grip"
      aria-hidden="true"
      onPointerDown=${(event) => widen(event, field, columns)}
      onDblClick=${() => columns.widen(field.name, null, true)}
    />
  </div>`;
}

/** Follow the pointer that widens a column. The menu of the column does the same by keys. */
function widen(event, field, columns) {
  if (event.button !== 0) return;
  event.preventDefault();
  const grip = event.currentTarget;
  const before = measureColumn(field);
  const start = event.clientX;
  let width = before;
  grip.setPointerCapture(event.pointerId);
  grip.onpointermove = ({ clientX }) => {
    width = before + clientX - start;
    columns.widen(field.name, width, false);
  };
  // The pointer is given up when its button is, and when the browser takes it away.
  grip.onlostpointercapture = () => {
    grip.onpointermove = null;
    grip.onlostpointercapture = null;
    if (width !== before) columns.widen(field.name, width, true);
  };
}

/**
 * Dragging of heads by a mouse; a finger scrolls, and has the menu of the column.
 * @param {{current: any}} row @param {(name: string, index: number) => void} move
 */
function useDragging(row, move) {
  const [target, setTarget] = useState(-1);
  /** Whether the click that follows ends a drag. */
  const wasDragged = useRef(false);
  const begin = (event, name) => {
    wasDragged.current = false;
    if (event.button !== 0 || event.pointerType === 'touch') return;
    const ending = new AbortController();
    const start = event.clientX;
    let index = -1;
    const follow = ({ clientX }) => {
      if (!wasDragged.current && Math.abs(clientX - start) < DRAGGED) return;
      wasDragged.current = true;
      index = findHead(row.current, clientX);
      setTarget(index);
    };
    const end = () => {
      ending.abort();
      setTarget(-1);
      if (index >= 0) move(name, index);
    };
    const { signal } = ending;
    addEventListener('pointermove', follow, { signal });
    addEventListener('pointerup', end, { signal });
    const giveUp = () => {
      index = -1;
      end();
    };
    addEventListener('pointercancel', giveUp, { signal });
  };
  return { target, isDragged: () => wasDragged.current, begin };
}

/** The index of the head before which a column is put that is dropped there. */
function findHead(row, x) {
  const heads = [...row.querySelectorAll('[data-column]')];
  const behind = heads.findIndex((head) => {
    const { left, width } = head.getBoundingClientRect();
    return x < left + width / 2;
  });
  return behind < 0 ? heads.length : behind;
}

/** A figure below each column that has one. */
export function FootRow({ fields, figures, widths }) {
  return html`<div class="gr gf" role="row" ref=${layRow(widths)}>
    <div class="gc pick" role="gridcell" />
    ${fields.map(
      (field) => html`<div class="gc ${alignColumn(field)}" role="gridcell" key=${field.name}>
        <${Figure} field=${field} figure=${figures[field.name]} />
      </div>`,
    )}
  </div>`;
}

function Figure({ field, figure }) {
  if (!figure) return null;
  const [kind, value] = figure;
  const { short } = FIGURES.find(({ name }) => name === kind) ?? {};
  if (!short) return null;
  const text = formatAmount(field, kind, value ?? null);
  return html`<small>${short}</small><b class="cut" title=${String(value ?? '')}>${text}</b>`;
}
