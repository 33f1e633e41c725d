/** A cell of the table: its value, or what it is edited with. */
import { html } from '../../core/kit.js';
import { Value } from '../../parts/values.js';
import { isInBlock } from './cursor.js';
import { makeKey } from './editing.js';
import { Editor } from './editors.js';
import { explainLock } from './reading.js';

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
