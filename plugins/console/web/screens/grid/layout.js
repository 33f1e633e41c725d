/**
 * Where rows and columns are. Styles are set through the object model: the policy of the page allows
 * no style attribute.
 */
import { measureColumn } from '../../parts/values.js';

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
