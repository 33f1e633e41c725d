/** One row of a table. */
import { html } from '../../core/kit.js';
import { icon } from '../../core/ui.js';
import { makeTitle } from '../../parts/titles.js';
import { Value } from '../../parts/values.js';
import { alignColumn } from './edges.js';
import { Editor } from './editor.js';
import { HEIGHT, isInBlock, layRow } from './geometry.js';

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
