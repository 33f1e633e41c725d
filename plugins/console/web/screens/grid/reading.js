/** What a text means as the value of a field: what was typed in a cell, or came from a spreadsheet. */
import { parse } from '../../core/json.js';
import { nameField } from '../../core/store.js';
import { isManaged, isSame, toText } from '../../parts/values.js';

const YES = ['true', 'yes', 'y', '1', 'wahr', 'ja', 'vrai', 'oui', 'sí', 'si', 'x'];
const NO = ['false', 'no', 'n', '0', 'falsch', 'nein', 'faux', 'non'];
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const DATE = /^\d{4}-\d\d-\d\d$/;
const TIME = /^(\d{4}-\d\d-\d\d)[ T](\d\d?:\d\d(?::\d\d(?:\.\d+)?)?)$/;
const ZONED = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$/;
const SHORT_DATE = /^(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})(?:,? +(\d\d?:\d\d(?::\d\d)?))?$/;

/** A text that cannot be the value of a field. */
export class Wrong extends Error {}

/** Why a cell cannot be changed; empty for one that can. */
export function explainLock(field) {
  if (field.system) return `${nameField(field)} is set by the server.`;
  if (field.generated) return `${nameField(field)} is computed from other fields.`;
  if (field.locked) return `You may not change ${nameField(field)}.`;
  if (isManaged(field)) return `Files are added in the record: open it.`;
  return '';
}

/**
 * Return the value that a text means. Raises Wrong with a sentence that begins with the name of the
 * field. Titles of linked records stay what they are: the server is asked for those.
 * @param {any} field @param {string} text
 */
export function readValue(field, text) {
  const read = READERS[field.type];
  const isWords = field.type === 'text' && !field.enum_values?.length;
  if (isWords) return text;
  const plain = text.trim();
  if (plain === '') return null;
  if (field.enum_values?.length) return readChoice(field, plain);
  return read ? read(field, plain) : plain;
}

const READERS = {
  number: readNumber,
  boolean: readAnswer,
  date: readDate,
  timestamp: readTime,
  '[text]': (field, text) => text.split(/\r?\n/).filter(Boolean),
  '[number]': readJson,
  json: readJson,
};

const refuse = (field, text, wanted) => {
  const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  throw new Wrong(`${field.name}: “${shown}” is not ${wanted}.`);
};

function readChoice(field, text) {
  const choices = field.enum_values;
  const isAlike = (choice) => choice.toLowerCase() === text.toLowerCase();
  if (choices.includes(text)) return text;
  return choices.find(isAlike) ?? refuse(field, text, `one of ${choices.slice(0, 12).join(', ')}`);
}

/** Digits stay text: the server reads them exactly. */
function readNumber(field, text) {
  const plain = text.replace(/[\s\u00a0\u202f']|[%€$£¥]/g, '');
  if (NUMBER.test(plain)) return plain;
  const { group, decimal } = readMarks();
  const digits = plain.replaceAll(group, '').replace(decimal, '.');
  return NUMBER.test(digits) ? digits : refuse(field, text, 'a number');
}

/** How the user's language writes numbers. */
function readMarks() {
  const parts = new Intl.NumberFormat().formatToParts(1234567.5);
  const find = (type, usual) => parts.find((part) => part.type === type)?.value ?? usual;
  return { group: find('group', ','), decimal: find('decimal', '.') };
}

function readAnswer(field, text) {
  const word = text.toLowerCase();
  if (YES.includes(word)) return true;
  return NO.includes(word) ? false : refuse(field, text, 'yes or no');
}

function readDate(field, text) {
  const date = text.replace(/[ T]00:00(:00)?$/, '');
  if (DATE.test(date)) return date;
  return readShort(date)?.date ?? refuse(field, text, 'a date');
}

/** A time without a zone is one of the user's zone. */
function readTime(field, text) {
  if (ZONED.test(text)) return text.replace(' ', 'T');
  const short = readShort(text);
  const iso = TIME.exec(text) ?? (DATE.test(text) ? [text, text, '00:00'] : null);
  const [, date, time] = iso ?? ['', short?.date, short?.time ?? '00:00'];
  const moment = new Date(`${date}T${String(time).padStart(5, '0')}`);
  const isTime = date && !Number.isNaN(moment.getTime());
  return isTime ? moment.toISOString() : refuse(field, text, 'a date and time');
}

/** A date in the order of the user's language, as 31/01/2026. */
function readShort(text) {
  const match = SHORT_DATE.exec(text);
  if (!match) return null;
  const order = new Intl.DateTimeFormat()
    .formatToParts(new Date())
    .map((part) => part.type)
    .filter((type) => ['day', 'month', 'year'].includes(type));
  const isYearFirst = match[1].length === 4;
  const names = isYearFirst ? ['year', 'month', 'day'] : order;
  const parts = Object.fromEntries(names.map((name, index) => [name, match[index + 1]]));
  const year = parts.year.length === 2 ? `20${parts.year}` : parts.year;
  const date = `${year}-${parts.month.padStart(2, '0')}-${parts.day.padStart(2, '0')}`;
  const day = new Date(`${date}T00:00Z`);
  const isDay = !Number.isNaN(day.getTime()) && day.toISOString().startsWith(date);
  return isDay ? { date, time: match[4] } : null;
}

function readJson(field, text) {
  try {
    return parse(text);
  } catch (error) {
    throw new Wrong(`${field.name}: this is not JSON: ${error.message}`);
  }
}

// --- what many cells get

/**
 * A cell that is to be changed: where it is, what it was filled from, and the value.
 * @typedef {{row: any, index: number, field: any, text: string, value: any}} Change
 */

/**
 * A cell that cannot be changed: the problem is a sentence.
 * @typedef {{row: any, index: number, field: any, text: string, problem: string}} Refusal
 */

/**
 * Read what cells get. Cells that have the value already are left out; `outside` counts those that
 * the table does not have.
 * @param {any[]} assignments @param {any[]} rows @param {any[]} fields
 * @returns {{changes: Change[], refused: Refusal[], outside: number}}
 */
export function planChanges(assignments, rows, fields) {
  const plan = { changes: [], refused: [], outside: 0 };
  for (const { row: index, col, source } of assignments) {
    const row = rows[index];
    const field = fields[col];
    if (row && field) {
      planChange(plan, { row, index, field, text: String(source.text) }, source);
    } else {
      plan.outside += 1;
    }
  }
  return plan;
}

function planChange(plan, cell, source) {
  const { row, field } = cell;
  const before = row[field.name] ?? null;
  try {
    const value = readSource(field, source);
    const isKept = isSame(value, before) || toText(field, before) === String(value ?? '');
    if (isKept) return;
    const problem = explainLock(field);
    if (problem) throw new Wrong(problem);
    plan.changes.push({ ...cell, value });
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    plan.refused.push({ ...cell, problem: explainLock(field) || error.message });
  }
}

function readSource(field, source) {
  if (source.isEmpty) return null;
  const isOfType = source.type === field.type && source.references === (field.references ?? null);
  if (!isOfType || field.enum_values?.length) return readValue(field, String(source.text));
  return source.value;
}

/** Read a cell again, with a text that was corrected. @param {Refusal} refusal @param {string} text */
export function planAgain({ row, index, field }, text) {
  const plan = { changes: [], refused: [], outside: 0 };
  planChange(plan, { row, index, field, text }, { text });
  return plan;
}
