/**
 * Blocks of cells as spreadsheets exchange them: lines of cells with tabs between them. A cell with
 * a tab, a line break or a quote is in quotes, and its quotes are doubled.
 */
import { stringify } from '../../core/json.js';
import { isManaged, listFiles, writeLocal } from '../../parts/values.js';

/** The form in which a block keeps its exact values, for a paste into a table of a console. */
export const EXACT = 'application/x-caudex-cells';
/** Letters of a text that can be pasted; a larger one is a file to import. */
export const MOST_LETTERS = 5_000_000;

const CELL = /"([^"]*(?:""[^"]*)*)"(?=[\t\r\n]|$)|[^\t\r\n]*/y;
const BREAK = /\t|\r\n|\r|\n/y;
/** What a spreadsheet would run as a formula gets a quote, as in an export of the server. */
const FORMULA = /^'*[=+\-@\t\r]/;

/** @param {string[][]} lines */
export const writeText = (lines) =>
  lines.map((cells) => cells.map(quoteCell).join('\t')).join('\n');

const quoteCell = (text) => (/[\t\r\n"]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** The cells of a text. A quote that ends nowhere is a letter like any other. @returns {string[][]} */
export function readText(text) {
  const lines = [[]];
  let at = 0;
  for (;;) {
    CELL.lastIndex = at;
    const [whole, quoted] = /** @type {any} */ (CELL.exec(text));
    lines.at(-1).push(quoted === undefined ? whole : quoted.replaceAll('""', '"'));
    at += whole.length;
    BREAK.lastIndex = at;
    const end = BREAK.exec(text)?.[0];
    if (end === undefined) break;
    at += end.length;
    // A line break at the very end begins no line.
    if (at === text.length && end !== '\t') break;
    if (end !== '\t') lines.push([]);
  }
  return lines;
}

/** A value as people and spreadsheets read it. @param {any} field @param {any} value */
export function writeCell(field, value, title) {
  if (value === null || value === undefined) return '';
  if (field.references) return title ?? String(value);
  if (isManaged(field))
    return listFiles(value)
      .map((file) => file.name)
      .join('\n');
  if (field.type === 'boolean') return value ? 'TRUE' : 'FALSE';
  if (field.type === 'timestamp') return writeTime(value);
  if (field.type === '[text]') return value.map(guardFormula).join('\n');
  if (typeof value !== 'object') return field.type === 'text' ? guardFormula(value) : String(value);
  return field.type === 'number' ? String(value) : stringify(value);
}

const guardFormula = (text) => (FORMULA.test(text) ? `'${text}` : text);

/** A time in the zone of the user, without its fraction: spreadsheets know it as a time. */
function writeTime(value) {
  const time = new Date(value);
  const isKnown = !Number.isNaN(time.getTime());
  return isKnown ? writeLocal(time).slice(0, 19).replace('T', ' ') : String(value);
}

// --- blocks of a table

/**
 * A block as text, and in the exact form.
 * @param {any[]} rows @param {any[]} fields @param {any} titles @param {any} block
 */
export function copyBlock(rows, fields, titles, block) {
  const columns = fields.slice(block.left, block.right + 1);
  const copied = rows.slice(block.top, block.bottom + 1);
  const cells = copied.map((row) =>
    columns.map((field) => makeSource(field, row[field.name], titles)),
  );
  const text = writeText(cells.map((line) => line.map((cell) => cell.text)));
  return { text, exact: stringify(cells) };
}

/** What a cell is filled from: a text, and where it came from a table its exact value and type. */
function makeSource(field, value, titles) {
  const text = writeCell(field, value, titles[value]);
  return { text, value: value ?? null, type: field.type, references: field.references ?? null };
}

/** @typedef {{row: number, col: number, source: any}} Assignment */

/**
 * Where the cells of a source go: once from the upper left corner of the block on, or as often as
 * they fit where the block is a multiple of them.
 * @param {any[][]} lines @param {any} block @returns {Assignment[]}
 */
export function spreadOver(lines, block) {
  const size = { rows: lines.length, cols: Math.max(...lines.map((line) => line.length)) };
  const height = block.bottom - block.top + 1;
  const width = block.right - block.left + 1;
  const isMultiple = height % size.rows === 0 && width % size.cols === 0;
  const target = isMultiple ? { rows: height, cols: width } : size;
  const assignments = [];
  for (let row = 0; row < target.rows; row += 1) {
    const line = lines[row % size.rows];
    for (let col = 0; col < target.cols; col += 1) {
      const source = line[col % size.cols];
      if (source) assignments.push({ row: block.top + row, col: block.left + col, source });
    }
  }
  return assignments;
}

/**
 * What fills a range from the block it extends: the block again and again.
 * @returns {Assignment[]}
 */
export function fillFrom(rows, fields, titles, block, range) {
  const height = block.bottom - block.top + 1;
  const width = block.right - block.left + 1;
  const assignments = [];
  for (let row = range.top; row <= range.bottom; row += 1) {
    for (let col = range.left; col <= range.right; col += 1) {
      const from = {
        row: block.top + wrap(row - block.top, height),
        col: block.left + wrap(col - block.left, width),
      };
      if (from.row === row && from.col === col) continue;
      const field = fields[from.col];
      const source = makeSource(field, rows[from.row][field.name], titles);
      assignments.push({ row, col, source });
    }
  }
  return assignments;
}

const wrap = (number, size) => ((number % size) + size) % size;

/** A block that is dragged to a cell: it grows in one direction, the one it is dragged further in. */
export function extendBlock(block, { row, col }) {
  const up = block.top - row;
  const down = row - block.bottom;
  const left = block.left - col;
  const right = col - block.right;
  const furthest = Math.max(up, down, left, right);
  if (furthest <= 0) return block;
  if (furthest === down) return { ...block, bottom: row };
  if (furthest === up) return { ...block, top: row };
  return furthest === right ? { ...block, right: col } : { ...block, left: col };
}

/** What empties a block. @returns {Assignment[]} */
export const emptyBlock = (block) => spreadOver([[{ text: '', isEmpty: true }]], block);
