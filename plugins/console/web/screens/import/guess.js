/** How a file is written: guessed from its bytes and cells. A guess is shown, and can be changed. */

export const CHARSETS = [
  ['utf-8', 'UTF-8'],
  ['utf-16le', 'UTF-16'],
  ['utf-16be', 'UTF-16 (big end first)'],
  ['windows-1252', 'Latin-1 (Windows)'],
];
export const SEPARATORS = [
  [',', 'comma'],
  [';', 'semicolon'],
  ['\t', 'tab'],
  ['|', 'bar'],
];
export const DATES = [
  ['', 'year first, 2031-12-24'],
  ['dmy', 'day first, 24.12.2031'],
  ['mdy', 'month first, 12/24/2031'],
];
export const DECIMALS = [
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
