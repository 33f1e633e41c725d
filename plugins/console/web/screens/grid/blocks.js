/** Cells as text of a spreadsheet: a line for each row, tabs between the cells. */
import { parseText, toText } from '../../parts/values.js';
import { isEditable } from './editing.js';

/** A block of cells as text. */
export function writeBlock(rows, fields, block) {
  const columns = fields.slice(block.left, block.right + 1);
  const writeCell = (row, field) => toText(field, row[field.name]).replace(/[\t\n]/g, ' ');
  const lines = rows
    .slice(block.top, block.bottom + 1)
    .map((row) => columns.map((field) => writeCell(row, field)).join('\t'));
  return lines.join('\n');
}

/**
 * What a text changes from a cell on: `[row, change]` pairs. What does not fit into the table, or
 * cannot be edited, is left out.
 * @returns {[row: any, change: object][]}
 */
export function readBlock(text, rows, fields, start) {
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  const pairs = [];
  for (const [offset, line] of lines.entries()) {
    const row = rows[start.row + offset];
    if (!row) break;
    const change = readLine(line, row, fields.slice(start.col));
    if (Object.keys(change).length) pairs.push([row, change]);
  }
  return pairs;
}

function readLine(line, row, fields) {
  const change = {};
  for (const [index, text] of line.split('\t').entries()) {
    const field = fields[index];
    const isOther = field && isEditable(field) && toText(field, row[field.name]) !== text;
    if (isOther) change[field.name] = parseText(field, text);
  }
  return change;
}
