/** The current cell, and the block of cells that ends in it. */
import { useState } from '../../core/kit.js';
import { clamp, findBlock, reveal } from './geometry.js';

/** `from` of the cursor is the cell where a block began; null without one. */
export function useCursor(box, rows, fields) {
  const [cursor, setCursor] = useState({ row: 0, col: 0, from: null });
  const move = (row, col, isBlock = false) => {
    const start = cursor.from ?? { row: cursor.row, col: cursor.col };
    const target = {
      row: clamp(row, 0, rows.length - 1),
      col: clamp(col, 0, fields.length - 1),
      from: isBlock ? start : null,
    };
    setCursor(target);
    reveal(box.current, target, fields);
  };
  return { cursor, block: findBlock(cursor), setCursor, move };
}
