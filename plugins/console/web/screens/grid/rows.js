/** A row of the table: what selects and opens it, and its cells. */
import { html } from '../../core/kit.js';
import { icon } from '../../core/ui.js';
import { makeTitle } from '../../parts/titles.js';
import { Cell } from './cell.js';
import { layRow } from './layout.js';

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
