/** How a file is chosen and read: what was guessed can be changed before anything is written. */
import { html, useState } from '../../core/kit.js';
import { toast } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { FileDrop } from '../../form/files.js';

const ASK = ['?', 'please choose'];
const TIMES = ['date', 'timestamp'];

/**
 * The rows of a source as `reading` says, the header first.
 * @param {Source} source
 */
export function readRows(source, reading) {
  if (source.sheets) return source.sheets[reading.sheet].rows;
  return parseCsv(decode(source, reading.charset), reading.separator);
}

/** @param {Source} source @param {string} charset */
function decode({ text, bytes }, charset) {
  const decoded = text ?? new TextDecoder(charset).decode(bytes);
  return decoded.replace(/^\ufeff/, '');
}

/** What is guessed of a source before its columns are known. */
export function beginReading(source, sheet = 0) {
  if (source.sheets) return { sheet };
  const { charset } = source;
  return { charset, separator: findSeparator(decode(source, charset)) };
}

/** What is guessed of the cells: `?` where two readings fit and the user has to say which. */
export function guessCells(rows, names, targets) {
  const pick = (isWanted) =>
    rows.flatMap((row) =>
      row.filter((_, index) => {
        const target = targets.find(({ name }) => name === names[index]);
        return target && isWanted(target.field.type);
      }),
    );
  return {
    dates: guessDates(pick((type) => TIMES.includes(type))) ?? '?',
    decimal: guessDecimal(pick((type) => type === 'number')) ?? '?',
  };
}

/** The parameters of the request. */
export const describeReading = ({ dates, decimal }) => ({
  dates: dates === '?' ? undefined : dates || undefined,
  decimal: decimal === '?' ? undefined : decimal || undefined,
});

/** @param {{source: any, reading: any, cells: any, change: Function, changeCells: Function}} props */
export function Reading({ source, reading, cells, change, changeCells }) {
  const choose = (name) => (event) => {
    const { value } = event.target;
    if (name === 'charset') {
      const separator = findSeparator(decode(source, value));
      change({ ...reading, charset: value, separator });
    } else change({ ...reading, [name]: name === 'sheet' ? Number(value) : value });
  };
  const chooseCells = (name) => (event) => changeCells({ ...cells, [name]: event.target.value });
  const sheets = source.sheets?.map(({ name }, index) => [String(index), name]);
  return html`<section class="card">
    <h2>How the file is read</h2>
    <div class="maps">
      ${
        sheets?.length > 1 &&
        html`<${Choice} title="Sheet" choices=${sheets} chosen=${String(reading.sheet)} onChange=${choose('sheet')} />`
      }
      ${
        source.bytes &&
        html`<${Choice} title="Charset" choices=${CHARSETS} chosen=${reading.charset} onChange=${choose('charset')} />`
      }
      ${
        !source.sheets &&
        html`<${Choice} title="Between cells" choices=${SEPARATORS} chosen=${reading.separator} onChange=${choose('separator')} />`
      }
      <${Choice} title="Dates" choices=${DATES} chosen=${cells.dates} onChange=${chooseCells('dates')} />
      <${Choice} title="Fractions" choices=${DECIMALS} chosen=${cells.decimal} onChange=${chooseCells('decimal')} />
    </div>
    ${
      cells.dates === '?' &&
      html`<p class="notice warn" role="alert">
        The dates of this file can be read with the day first or with the month first. Choose one.
      </p>`
    }
  </section>`;
}

function Choice({ title, choices, chosen, onChange }) {
  const all = chosen === '?' ? [ASK, ...choices] : choices;
  return html`<label class="field">
    <span>${title}</span>
    <select onChange=${onChange}>
      <${Options} choices=${all} chosen=${chosen} />
    </select>
  </label>`;
}

// --- where the rows of an import come from: a file, or what was copied from a spreadsheet

const ACCEPTED = '.csv,.tsv,.txt,.xlsx,text/csv';
/** How the files of Excel before 2007 begin. */
const OLD_EXCEL = [0xd0, 0xcf, 0x11, 0xe0];

/**
 * What was chosen: the sheets of a workbook, or the bytes or the text of a table.
 * @typedef {{sheets?: {name: string, rows: string[][]}[], bytes?: Uint8Array, text?: string,
 *   charset?: string}} Source
 */

/** @param {File} file @returns {Promise<Source>} */
async function openFile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (OLD_EXCEL.every((byte, place) => bytes[place] === byte))
    throw new Error('This file is of Excel before 2007: save it as .xlsx or as CSV.');
  const { isArchive, readWorkbook } = await import('./xlsx.js');
  if (!isArchive(bytes)) return { bytes, charset: guessCharset(bytes) };
  const sheets = await readWorkbook(bytes);
  if (!sheets.length) throw new Error('The workbook has no cells.');
  return { sheets };
}

/** @param {{take: (source: Source) => void, fields: any[]}} props */
export function SourceChoice({ take, fields }) {
  const [text, setText] = useState('');
  const names = fields.slice(0, 4).map((field) => field.name);
  const read = async (file) => {
    try {
      take(await openFile(file));
    } catch (error) {
      toast(error.message, { kind: 'bad' });
    }
  };
  return html`<div class="stack narrow">
    <${FileDrop} label="CSV or Excel file" accept=${ACCEPTED} take=${read}>
      Drop a CSV or Excel file or <u>choose one</u>
    <//>
    <label class="field">
      <span>Or paste rows <i>as copied from a spreadsheet</i></span>
      <textarea
        class="mono"
        rows="8"
        placeholder=${names.join(',')}
        value=${text}
        onInput=${(event) => setText(event.target.value)}
      />
    </label>
    <div>
      <button class="primary" disabled=${!text.trim()} onClick=${() => take({ text })}>
        Continue
      </button>
    </div>
  </div>`;
}

// --- how a file is written: guessed from its bytes and cells. A guess is shown, and can be changed

const CHARSETS = [
  ['utf-8', 'UTF-8'],
  ['utf-16le', 'UTF-16'],
  ['utf-16be', 'UTF-16 (big end first)'],
  ['windows-1252', 'Latin-1 (Windows)'],
];
const SEPARATORS = [
  [',', 'comma'],
  [';', 'semicolon'],
  ['\t', 'tab'],
  ['|', 'bar'],
];
const DATES = [
  ['', 'year first, 2031-12-24'],
  ['dmy', 'day first, 24.12.2031'],
  ['mdy', 'month first, 12/24/2031'],
];
const DECIMALS = [
  ['', 'a point, 1.5'],
  [',', 'a comma, 1.234,5'],
  ['.', 'a point, 1,234.5'],
];

const DAY_OR_MONTH_FIRST = /^\s*(\d{1,2})([./-])(\d{1,2})\2\d{4}/;
const WITH_COMMA = /^\s*[+-]?[\d.,]*\d,\d[\d.,]*\s*$/;
/** Bytes that are looked at. */
const HEAD = 4000;

/** @param {Uint8Array} bytes */
export function guessCharset(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  const head = bytes.subarray(0, HEAD);
  const zeros = head.reduce((count, byte) => count + Number(byte === 0), 0);
  if (zeros > head.length / 4) return head[0] === 0 ? 'utf-16be' : 'utf-16le';
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return 'utf-8';
  } catch {
    return 'windows-1252';
  }
}

/** The order of day and month: empty where none is needed, null where two orders fit. */
export function guessDates(cells) {
  const matches = cells.map((cell) => DAY_OR_MONTH_FIRST.exec(cell)).filter(Boolean);
  if (!matches.length) return '';
  const isDayFirst = matches.some(([, first]) => Number(first) > 12);
  const isMonthFirst = matches.some(([, , , second]) => Number(second) > 12);
  if (isDayFirst === isMonthFirst) return null;
  return isDayFirst ? 'dmy' : 'mdy';
}

/** The mark before a fraction: empty where no number has a comma, null where two readings fit. */
export function guessDecimal(cells) {
  const numbers = cells.filter((cell) => WITH_COMMA.test(cell)).map((cell) => cell.trim());
  if (!numbers.length) return '';
  const hasFraction = (number) => {
    const last = number.lastIndexOf(',');
    const isLastMark = last > number.lastIndexOf('.');
    const isGroup = /,\d{3}$/.test(number) && !number.includes('.');
    return isLastMark && !isGroup;
  };
  const isGrouped = (number) =>
    /^[+-]?\d{1,3}(,\d{3})+\.\d+$/.test(number) || /^[+-]?\d{1,3}(,\d{3}){2,}$/.test(number);
  const hasCommas = numbers.some(hasFraction);
  const hasPoints = numbers.some(isGrouped);
  if (hasCommas === hasPoints) return null;
  return hasCommas ? ',' : '.';
}

// --- CSV as RFC 4180 has it, and the fields that its columns are

/** The first line that Excel writes where the separator is not the usual one. */
const SEPARATOR_LINE = /^sep=([,;\t|])\r?\n/i;

/** The separator that a file says itself, else the one that its first line has most of. */
export function findSeparator(text) {
  const said = SEPARATOR_LINE.exec(text);
  if (said) return said[1];
  const head = text.slice(0, text.search(/\r?\n|$/)).replace(/"[^"]*"?/g, '');
  const count = (separator) => head.split(separator).length;
  const signs = SEPARATORS.map(([sign]) => sign);
  return signs.reduce((best, candidate) => (count(candidate) > count(best) ? candidate : best));
}

/** @param {string} text @param {string} separator @returns {string[][]} */
export function parseCsv(text, separator) {
  const rows = splitRows(text.replace(SEPARATOR_LINE, ''), separator);
  return rows.filter((row) => row.some((cell) => cell.trim() !== ''));
}

function splitRows(source, separator) {
  const rows = [];
  let row = [];
  let cell = '';
  let isQuoted = false;
  const endCell = () => {
    row.push(cell);
    cell = '';
  };
  const endRow = () => {
    endCell();
    rows.push(row);
    row = [];
  };
  for (let i = 0; i < source.length; i += 1) {
    const letter = source[i];
    const isQuote = letter === '"';
    if (isQuoted && isQuote && source[i + 1] === '"') {
      cell += '"';
      i += 1;
    } else if (isQuoted) {
      if (isQuote) isQuoted = false;
      else cell += letter;
    } else if (isQuote && cell === '') {
      isQuoted = true;
    } else if (letter === separator) {
      endCell();
    } else if (letter === '\n') {
      cell = cell.replace(/\r$/, '');
      endRow();
    } else {
      cell += letter;
    }
  }
  if (cell !== '' || row.length) endRow();
  return rows;
}

const quote = (cell) => (/[",;\n\r\t]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

/** @param {string[][]} rows */
export const writeCsv = (rows) => rows.map((row) => row.map(quote).join(',')).join('\r\n');
