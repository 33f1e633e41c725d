/** CSV as RFC 4180 has it, and the fields that its columns are. */

const SEPARATORS = [',', ';', '\t', '|'];
/** The first line that Excel writes where the separator is not the usual one. */
const SEPARATOR_LINE = /^sep=([,;\t|])\r?\n/i;

/** The separator that a file says itself, else the one that its first line has most of. */
export function findSeparator(text) {
  const said = SEPARATOR_LINE.exec(text);
  if (said) return said[1];
  const head = text.slice(0, text.search(/\r?\n|$/)).replace(/"[^"]*"?/g, '');
  const count = (separator) => head.split(separator).length;
  return SEPARATORS.reduce((best, candidate) =>
    count(candidate) > count(best) ? candidate : best,
  );
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
