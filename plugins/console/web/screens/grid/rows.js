/** A row of the table: what selects and opens it, and its cells with their values or editors. */
import { html } from '../../core/kit.js';
import { icon } from '../../core/ui.js';
import { makeTitle } from '../../parts/titles.js';
import { Value } from '../../parts/values.js';
import { isInBlock } from './cursor.js';
import { makeKey } from './editing.js';
import { Editor } from './editors.js';
import { layRow } from './layout.js';
import { explainLock } from './reading.js';

/**
 * @param {{grid: any, row: any, index: number}} props `grid` is what all rows share, see grid.js.
 */
export function Row({ grid, row, index }) {
  const { entity, fields, widths, cursor, selection, marks, act, opened } = grid;
  const isChosen = selection.ids.has(row.id);
  const chosen = isChosen ? 'chosen' : '';
  const current = index === cursor.row ? 'at' : '';
  const beside = opened === row.id ? 'opened' : '';
  const openAtEdge = (event) => {
    if (event.target.localName !== 'input') act.open(row, index);
  };
  const title = makeTitle(entity, row);
  return html`<div
    class="gr ${chosen} ${current} ${beside} ${marks.get(row.id) ?? ''}"
    role="row"
    aria-rowindex=${grid.plan.lineOf(grid.base + index) + 2}
    aria-selected=${isChosen}
    ref=${layRow(widths, grid.topOf(index))}
  >
    <div class="gc pick" role="gridcell" onClick=${openAtEdge}>
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
      >
        <span>${(grid.base + index + 1).toLocaleString()}</span>
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

// --- cells

/** What a click on is not a click on the cell. */
const CONTROLS = 'a, button, input, select, textarea, .popup, .fill';

export const alignColumn = (field) => (field.type === 'number' ? 'num' : '');

/**
 * @param {{grid: any, row: any, index: number, field: any, col: number}} props `grid` is what all rows
 *   share, see grid.js.
 */
export function Cell({ grid, row, index, field, col }) {
  const { cursor, block, filled, editing, drafts, act } = grid;
  const isCurrent = index === cursor.row && col === cursor.col;
  const isRanged = Boolean(cursor.from) && isInBlock(block, index, col);
  const isFilled = filled && isInBlock(filled, index, col);
  const isEdited = editing?.id === row.id && editing.name === field.name;
  const isCorner = grid.editable && !editing && index === block.bottom && col === block.right;
  const draft = drafts.get(makeKey(row.id, field.name));
  const look = [
    'gc',
    alignColumn(field),
    isCurrent ? 'cur' : '',
    isRanged ? 'ranged' : '',
    isFilled ? 'filled' : '',
    draft?.problem ? 'refused' : '',
  ];
  const point = (event) => {
    if (event.target.closest(CONTROLS) || event.button !== 0) return;
    event.preventDefault();
    act.point(index, col, event.shiftKey);
  };
  const edit = (event) => {
    if (!event.target.closest(CONTROLS)) act.edit(index, col);
  };
  const content = isEdited
    ? html`<${Editing} grid=${grid} row=${row} field=${field} draft=${draft} />`
    : html`<${Shown} grid=${grid} row=${row} field=${field} draft=${draft} />`;
  return html`<div
    class=${look.join(' ')}
    role="gridcell"
    id=${`c-${index}-${col}`}
    aria-selected=${isRanged || isCurrent}
    aria-readonly=${grid.editable && explainLock(field) ? 'true' : undefined}
    aria-invalid=${draft?.problem ? 'true' : undefined}
    onMouseDown=${point}
    onDblClick=${edit}
  >
    ${content}
    ${isCorner && html`<span class="fill" onPointerDown=${act.startFill} />`}
  </div>`;
}

/** The value, or what was typed and is not saved yet. */
function Shown({ grid, row, field, draft }) {
  const { appId, titles } = grid;
  const value = row[field.name];
  if (draft)
    return html`<span class="cut draft" title=${draft.problem}>${draft.shown ?? draft.text}</span>`;
  return html`<${Value} field=${field} value=${value} title=${titles[value]} appId=${appId} />`;
}

const Editing = ({ grid, row, field, draft }) => html`<${Editor}
  key=${grid.editing.round}
  field=${field}
  value=${row[field.name]}
  title=${grid.titles[row[field.name]]}
  appId=${grid.appId}
  isTyped=${grid.editing.isTyped}
  draft=${draft}
  finish=${grid.act.finish}
/>`;
