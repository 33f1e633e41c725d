/** The current cell, the block of cells that ends in it, and the keys and drags that move it. */
import { useRef, useState } from '../../core/kit.js';
import { HEIGHT, clamp, reveal } from './layout.js';

/**
 * Where a key leads: rows and columns from the current cell, or an end of the table (Infinity).
 * @type {Record<string, [row: number, col: number]>}
 */
const STEPS = {
  ArrowDown: [1, 0],
  ArrowUp: [-1, 0],
  ArrowRight: [0, 1],
  ArrowLeft: [0, -1],
  Home: [0, -Infinity],
  End: [0, Infinity],
  'Ctrl ArrowDown': [Infinity, 0],
  'Ctrl ArrowUp': [-Infinity, 0],
  'Ctrl ArrowRight': [0, Infinity],
  'Ctrl ArrowLeft': [0, -Infinity],
  'Ctrl Home': [-Infinity, -Infinity],
  'Ctrl End': [Infinity, Infinity],
};
/** Rows of a page that stay in sight when the next page is shown. */
const KEPT = 3;

/** The step of a key, as `Ctrl ArrowDown`; undefined for one that moves nothing. */
export function findStep(name, box) {
  const page = Math.max(1, Math.floor(box.clientHeight / HEIGHT) - KEPT);
  if (name === 'PageDown') return [page, 0];
  if (name === 'PageUp') return [-page, 0];
  return STEPS[name];
}

/**
 * `from` of the cursor is the cell where a block began; null without one.
 * @param {{current: any}} box @param {any[]} rows @param {any[]} fields
 * @param {(row: number) => number} topOf where a row is, in pixels
 */
export function useCursor(box, rows, fields, topOf) {
  const [cursor, setCursor] = useState({ row: 0, col: 0, from: null });
  /** The cursor of now, for what moves several times between two drawings. */
  const latest = useRef(cursor);
  /** The column in which a line of cells was begun, to which Enter returns. */
  const begun = useRef(null);
  const set = (target) => {
    latest.current = target;
    setCursor(target);
  };
  const move = (row, col, isBlock = false) => {
    const { current } = latest;
    const start = current.from ?? { row: current.row, col: current.col };
    const target = {
      row: clamp(row, 0, rows.length - 1),
      col: clamp(col, 0, fields.length - 1),
      from: isBlock ? start : null,
    };
    begun.current = null;
    set(target);
    reveal(box.current, topOf(target.row), target.col, fields);
  };
  /** @param {number[]} by rows and columns */
  const step = (by, isBlock = false) =>
    move(latest.current.row + by[0], latest.current.col + by[1], isBlock);
  /** Move to the next cell of a line, or the one before; behind the last one the next line begins. */
  const walk = (right) => {
    const { row, col } = latest.current;
    const at = row * fields.length + col + right;
    if (at < 0 || at >= rows.length * fields.length) return false;
    const start = begun.current ?? col;
    move(Math.floor(at / fields.length), at % fields.length);
    begun.current = start;
    return true;
  };
  /** Move to the next line, below the cell where this one was begun. */
  const breakLine = (down) => move(latest.current.row + down, begun.current ?? latest.current.col);
  return { cursor, latest, block: findBlock(cursor), setCursor: set, move, step, walk, breakLine };
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

// --- dragging over cells

/** Milliseconds between two steps of a table that scrolls below a pointer outside of it. */
const SCROLL_PAUSE = 40;
/** Pixels of such a step. */
const SCROLL_STEP = 24;
/** Pixels inside the edge of the table that are no cell: lines and scroll bars. */
const EDGE = 16;

/**
 * Follow the pointer until it is released.
 * @param {any} box @param {(cell: {row: number, col: number}) => void} over gets the cell below it,
 *   or the nearest one while it is outside, where the table scrolls
 * @param {() => void} [end]
 */
export function followPointer(box, over, end) {
  let point = null;
  const visit = () => {
    if (!point) return;
    const seen = findSeen(box);
    box.scrollTop += SCROLL_STEP * side(point.y, seen.top, seen.bottom);
    box.scrollLeft += SCROLL_STEP * side(point.x, seen.left, seen.right);
    const cell = findCell(
      clamp(point.x, seen.left, seen.right),
      clamp(point.y, seen.top, seen.bottom),
    );
    if (cell) over(cell);
  };
  const follow = (event) => {
    point = { x: event.clientX, y: event.clientY };
    visit();
  };
  const timer = setInterval(visit, SCROLL_PAUSE);
  const stop = () => {
    clearInterval(timer);
    removeEventListener('pointermove', follow);
    removeEventListener('pointerup', stop);
    removeEventListener('pointercancel', stop);
    end?.();
  };
  addEventListener('pointermove', follow);
  addEventListener('pointerup', stop);
  addEventListener('pointercancel', stop);
}

/** The part of the table in which cells are seen: without its head, frozen cells and scroll bars. */
function findSeen(box) {
  const outer = box.getBoundingClientRect();
  const head = box.querySelector('.gh');
  const foot = box.querySelector('.gf');
  const pick = box.querySelector('.pick');
  return {
    top: outer.top + (head?.offsetHeight ?? 0) + 1,
    bottom: outer.top + box.clientHeight - (foot?.offsetHeight ?? 0) - 2,
    left: outer.left + (pick?.offsetWidth ?? 0) + 1,
    right: outer.left + box.clientWidth - 2,
  };
}

/** -1 before a part, 1 behind it, 0 in it. */
function side(position, start, end) {
  if (position < start - EDGE) return -1;
  return position > end + EDGE ? 1 : 0;
}

/** The cell at a point of the window, by its id; null where none is. */
function findCell(x, y) {
  const element = document.elementFromPoint(x, y)?.closest('[id^="c-"]');
  if (!element) return null;
  const [, row, col] = element.id.split('-').map(Number);
  return { row, col };
}

// --- keys by their names

/** Letters that are commands of the whole console, in the table as elsewhere. */
const OF_CONSOLE = ['/', '?'];

/** A key with what is held, as `Ctrl Shift End`. */
export function nameKey(event) {
  const isCommand = event.ctrlKey || event.metaKey;
  // With Alt some keyboards write other letters.
  const isAltLetter = event.altKey && event.code?.startsWith('Key');
  const key = isAltLetter ? event.code.slice(3).toLowerCase() : event.key;
  const held = [isCommand && 'Ctrl', event.altKey && 'Alt', event.shiftKey && 'Shift'];
  return [...held.filter(Boolean), key].join(' ');
}

/** Whether a key types something. Keys that begin a composed letter do, too. */
export function isLetter(event) {
  const isCommand = event.ctrlKey || event.metaKey || event.altKey;
  const isPart = event.key === 'Dead' || event.key === 'Process';
  const isOne = [...event.key].length === 1 && !OF_CONSOLE.includes(event.key);
  return !isCommand && (isOne || isPart);
}

/**
 * Whether Tab goes from cell to cell. It does once the user works in the table, until Escape; else it
 * leaves the table, which is no trap then.
 */
export function useWalking() {
  const walking = useRef(false);
  const setWalking = (isOn) => {
    walking.current = isOn;
  };
  return { walking, setWalking };
}
