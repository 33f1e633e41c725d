/** The current cell, and the block of cells that ends in it. */
import { useState } from '../../core/kit.js';
import { clamp, reveal } from './layout.js';

/** Keys that move the current cell: by rows and columns. */
export const STEPS = {
  ArrowDown: [1, 0],
  j: [1, 0],
  ArrowUp: [-1, 0],
  k: [-1, 0],
  ArrowRight: [0, 1],
  l: [0, 1],
  ArrowLeft: [0, -1],
  h: [0, -1],
  PageDown: [15, 0],
  PageUp: [-15, 0],
};

/**
 * `from` of the cursor is the cell where a block began; null without one. `topOf` says where a row is,
 * in pixels.
 */
export function useCursor(box, rows, fields, topOf) {
  const [cursor, setCursor] = useState({ row: 0, col: 0, from: null });
  const move = (row, col, isBlock = false) => {
    const start = cursor.from ?? { row: cursor.row, col: cursor.col };
    const target = {
      row: clamp(row, 0, rows.length - 1),
      col: clamp(col, 0, fields.length - 1),
      from: isBlock ? start : null,
    };
    setCursor(target);
    reveal(box.current, topOf(target.row), target.col, fields);
  };
  return { cursor, block: findBlock(cursor), setCursor, move };
}

/** The block of cells between the one where a selection began (`from`) and the current one. */
export function findBlock({ row, col, from }) {
  const start = from ?? { row, col };
  return {
    top: Math.min(row, start.row),
    bottom: Math.max(row, start.row),
    left: Math.min(col, start.col),
    right: Math.max(col, start.col),
  };
}

export const isInBlock = (block, row, col) =>
  row >= block.top && row <= block.bottom && col >= block.left && col <= block.right;
