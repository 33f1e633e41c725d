/**
 * Where rows and columns are. Styles are set through the object model: the policy of the page allows
 * no style attribute.
 */
import { measureColumn } from '../../parts/values.js';

/** Height of a row in pixels; `--row` of the style. */
export const HEIGHT = 33;
/** Width of the first column, which selects and opens a row. */
const PICK = 74;
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

/** The first line that is drawn, and the one behind the last; `origin` is the one at the top. */
export function findDrawnLines({ top, height }, origin) {
  return {
    line: origin + Math.max(0, Math.floor(top / HEIGHT) - MARGIN),
    endLine: origin + Math.ceil((top + height) / HEIGHT) + MARGIN,
  };
}

/** A `ref` that lays a row out. */
export const layRow = (widths, top) => (element) => {
  if (!element) return;
  element.style.gridTemplateColumns = widths;
  if (top !== undefined) element.style.transform = `translateY(${top}px)`;
};

/** A `ref` that gives the rows the height of all lines, drawn or not. */
export const makeTall = (lines) => (element) => {
  if (element) element.style.height = `${lines * HEIGHT}px`;
};

/** Scroll until a cell is in sight; the first column is always, and covers others. */
export function reveal(box, top, col, fields) {
  const bottom = top + 2 * HEIGHT;
  if (top < box.scrollTop) {
    box.scrollTop = top;
  } else if (bottom > box.scrollTop + box.clientHeight) {
    box.scrollTop = bottom + FREE - box.clientHeight;
  }
  const left = fields.slice(0, col).reduce((sum, field) => sum + measureColumn(field), PICK);
  const right = left + measureColumn(fields[col]);
  if (col === 0) return;
  const frozen = PICK + measureColumn(fields[0]);
  if (left < box.scrollLeft + frozen) {
    box.scrollLeft = left - frozen;
  } else if (right > box.scrollLeft + box.clientWidth) {
    box.scrollLeft = right - box.clientWidth;
  }
}
