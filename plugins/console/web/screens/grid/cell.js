/** A cell of the table: its value, or what it is edited with. */
import { html } from '../../core/kit.js';
import { Value } from '../../parts/values.js';
import { isInBlock } from './cursor.js';
import { Editor } from './editing.js';

/** What a click on is not a click on the cell. */
const CONTROLS = 'a, input, select, .popup';

export const alignColumn = (field) => (field.type === 'number' ? 'num' : '');

/**
 * @param {{grid: any, row: any, index: number, field: any, col: number}} props `grid` is what all rows
 *   share, see grid.js.
 */
export function Cell({ grid, row, index, field, col }) {
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
