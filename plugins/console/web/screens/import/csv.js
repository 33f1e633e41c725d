/** CSV as RFC 4180 has it; the separator is the one that the first line has most of. */

const SEPARATORS = [',', ';', '\t'];

/** @param {string} text @returns {string[][]} */
export function parseCsv(text) {
  const source = text.replace(/^\ufeff/, '');
  const rows = splitRows(source, findSeparator(source));
  return rows.filter((row) => row.length > 1 || row[0].trim() !== '');
}

function findSeparator(source) {
  const head = source.slice(0, source.search(/\r?\n|$/));
  const count = (separator) => head.split(separator).length;
  return SEPARATORS.reduce((best, candidate) =>
    count(candidate) > count(best) ? candidate : best,
  );
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

/** Which field each column of the file is, by its name. */
export function matchFields(heads, fields) {
  return heads.map((head) => {
    const name = toName(head);
    const field = fields.find((candidate) => {
      const names = [candidate.name, candidate.name.replace(/_id$/, '')];
      return names.includes(name);
    });
    return field?.name ?? '';
  });
}

/** "Close date" -> "close_date". */
function toName(head) {
  const joined = head.toLowerCase().replace(/[^a-z0-9]+/g, '_');
  return joined.replace(/^_|_$/g, '');
}

const BOOLEANS = { yes: 'true', y: 'true', 1: 'true', no: 'false', n: 'false', 0: 'false' };

/** A cell as the server reads it: spreadsheets write `yes`, and lists with semicolons. */
function toServer(field, text) {
  const trimmed = text.trim();
  if (field.type === 'boolean') return BOOLEANS[trimmed.toLowerCase()] ?? text;
  const isPlainList = field.type === '[text]' && trimmed && trimmed[0] !== '[';
  return isPlainList ? JSON.stringify(text.split(/\s*[;|]\s*/)) : text;
}

/** The rows of the chosen columns, headed by the names of their fields. */
export function chooseRows(rows, names, fields) {
  const columns = names
    .map((name, index) => ({ index, field: fields.find((field) => field.name === name) }))
    .filter(({ field }) => field);
  const heads = columns.map(({ field }) => field.name);
  const choose = (row) => columns.map(({ index, field }) => toServer(field, row[index] ?? ''));
  return [heads, ...rows.map(choose)];
}
