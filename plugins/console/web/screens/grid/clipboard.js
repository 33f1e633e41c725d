/** What is done with a block of cells: copied, cut, pasted, filled by dragging, emptied. */
import { useRef, useState } from '../../core/kit.js';
import { parse } from '../../core/json.js';
import { toast } from '../../core/ui.js';
import {
  EXACT,
  MOST_LETTERS,
  copyBlock,
  emptyBlock,
  extendBlock,
  fillFrom,
  readText,
  spreadOver,
} from './blocks.js';
import { followPointer } from './cursor.js';
import { planChanges } from './reading.js';

/** Rows that a paste reaches, loaded for it or not. */
const MOST_ROWS = 10_000;
const TOO_LONG = 'This is too much to paste: import it as a file.';

/**
 * @param {{current: any}} box @param {any} grid what the table has: its rows and fields, the block,
 *   and `onChange`, which saves a plan
 */
export function useBlocks(box, grid) {
  const { data, fields, block, setCursor, editing, isEditable } = grid;
  const { rows, titles } = data;
  /** The range that would be filled while the pointer drags the corner of the block. */
  const [filled, setFilled] = useState(null);
  const range = useRef(null);

  const change = async (assignments) => {
    if (!isEditable() || !rows.length) return;
    const reached = await reachRows(data, assignments);
    const plan = planChanges(reached.assignments, reached.rows, fields);
    await grid.onChange({ ...plan, base: data.base - reached.shift });
  };
  // The target of these events may be where a selection of text once was.
  const isElsewhere = () => editing || document.activeElement !== box.current;
  const copy = (event) => {
    if (isElsewhere() || !rows.length) return false;
    const { text, exact } = copyBlock(rows, fields, titles, block);
    event.clipboardData.setData('text/plain', text);
    event.clipboardData.setData(EXACT, exact);
    event.preventDefault();
    return true;
  };
  const empty = () => change(emptyBlock(block));
  const cut = (event) => {
    if (copy(event)) empty();
  };
  const paste = async (event) => {
    if (isElsewhere()) return;
    event.preventDefault();
    const text = event.clipboardData.getData('text/plain');
    if (text.length > MOST_LETTERS) {
      toast(TOO_LONG, { kind: 'bad' });
      return;
    }
    const lines = readExact(event.clipboardData.getData(EXACT)) ?? readSources(text);
    const assignments = spreadOver(lines, block);
    selectTarget(assignments);
    await change(assignments);
  };
  const selectTarget = (assignments) => {
    const last = assignments.at(-1);
    if (!last) return;
    const row = Math.min(last.row, rows.length - 1);
    const col = Math.min(Math.max(...assignments.map((cell) => cell.col)), fields.length - 1);
    const isOne = row === block.top && col === block.left;
    const from = isOne ? null : { row, col };
    setCursor({ row: block.top, col: block.left, from });
  };
  const fill = (target) => change(fillFrom(rows, fields, titles, block, target));
  /** The first row of the block fills the others; a row alone gets the one above it. */
  const fillDown = () => {
    const isOne = block.top === block.bottom;
    if (isOne && block.top === 0) return undefined;
    const top = isOne ? block.top - 1 : block.top;
    const source = { ...block, top, bottom: top };
    return change(fillFrom(rows, fields, titles, source, { ...block, top }));
  };
  const startFill = (event) => {
    event.preventDefault();
    event.stopPropagation();
    const over = (cell) => {
      range.current = extendBlock(block, cell);
      setFilled(range.current);
    };
    const stop = () => {
      setFilled(null);
      const target = range.current;
      range.current = null;
      if (!target || target === block) return;
      const from = { row: target.bottom, col: target.right };
      setCursor({ row: target.top, col: target.left, from });
      fill(target);
    };
    followPointer(box.current, over, stop);
  };
  return { filled, copy, cut, paste, empty, fillDown, startFill };
}

/** The rows that cells are in: those that are not loaded yet are, as far as there are any. */
async function reachRows(data, assignments) {
  const last = assignments.reduce((most, cell) => Math.max(most, cell.row), 0);
  const isLoaded = last < data.rows.length || data.done;
  if (isLoaded) return { assignments, rows: data.rows, shift: 0 };
  const [first] = data.rows;
  const rows = await data.loadTo(Math.min(last + 1, MOST_ROWS));
  // Meanwhile rows before these may have been loaded, too.
  const shift = Math.max(
    0,
    rows.findIndex((row) => row.id === first.id),
  );
  const shifted = assignments.map((cell) => ({ ...cell, row: cell.row + shift }));
  return { assignments: shift ? shifted : assignments, rows, shift };
}

const readSources = (text) => readText(text).map((cells) => cells.map((cell) => ({ text: cell })));

/** The exact form of a block that was copied from a table; null for none. */
function readExact(text) {
  try {
    const lines = text ? parse(text) : [];
    return lines.length && lines.every(Array.isArray) ? lines : null;
  } catch {
    return null;
  }
}
