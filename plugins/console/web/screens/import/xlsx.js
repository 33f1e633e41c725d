/** Workbooks of spreadsheets (Office Open XML), read in the browser: sheets as rows of texts. */
import { iter } from '../../vendor/but-unzip.js';

/** Bytes that the parts of a workbook may have together when they are unpacked. */
const MOST_BYTES = 300_000_000;
/** Columns that are read; a table has no more. */
const MOST_COLUMNS = 600;
const DAY = 86_400_000;
const DAMAGED = 'The file is damaged, or no workbook.';
/** How the last part of an archive begins, its bytes, and those of the comment that may follow. */
const END = [0x50, 0x4b, 0x05, 0x06];
const END_BYTES = 22;
const MOST_COMMENT = 65_535;
/** Numbers of the formats that are dates and times without a code of their own. */
const DATE_FORMATS = [
  [14, 22],
  [27, 36],
  [45, 47],
  [50, 58],
];

/** @param {Uint8Array} bytes */
export const isArchive = (bytes) => bytes[0] === 0x50 && bytes[1] === 0x4b;

/**
 * Read every sheet with cells. Raises Error with a sentence for what is no such workbook.
 * @param {Uint8Array} bytes @returns {Promise<{name: string, rows: string[][]}[]>}
 */
export async function readWorkbook(bytes) {
  const archive = openArchive(bytes);
  const book = await archive.readXml('xl/workbook.xml');
  if (!book) throw new Error('This is no workbook of Excel: save it as .xlsx or as CSV.');
  const relations = await archive.readXml('xl/_rels/workbook.xml.rels');
  const paths = Object.fromEntries(
    list(relations, 'Relationship').map((relation) => [
      relation.getAttribute('Id'),
      resolve(relation.getAttribute('Target') ?? ''),
    ]),
  );
  const context = {
    texts: readTexts(await archive.readXml('xl/sharedStrings.xml')),
    dates: readDateStyles(await archive.readXml('xl/styles.xml')),
    is1904: ['1', 'true'].includes(list(book, 'workbookPr')[0]?.getAttribute('date1904') ?? ''),
  };
  const sheets = [];
  for (const sheet of list(book, 'sheet')) {
    const relation = [...sheet.attributes].find((attribute) => attribute.localName === 'id');
    const content = await archive.readXml(paths[relation?.value ?? ''] ?? '');
    const rows = content ? readRows(content, context) : [];
    if (rows.length) sheets.push({ name: sheet.getAttribute('name') ?? '', rows });
  }
  return sheets;
}

/** Whether an archive has its end: without one the library would look for it without an end. */
function hasEnd(bytes) {
  const last = bytes.length - END_BYTES;
  for (let at = last; at >= Math.max(0, last - MOST_COMMENT); at -= 1)
    if (END.every((byte, place) => bytes[at + place] === byte)) return true;
  return false;
}

function openArchive(bytes) {
  if (!hasEnd(bytes)) throw new Error(DAMAGED);
  const files = new Map();
  let left = MOST_BYTES;
  const inflate = async (raw) => {
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
    const pieces = [];
    for await (const piece of /** @type {any} */ (stream)) {
      left -= piece.length;
      if (left < 0) throw new Error('The workbook is too large to be read here: save it as CSV.');
      pieces.push(piece);
    }
    return new Uint8Array(await new Blob(pieces).arrayBuffer());
  };
  try {
    for (const item of iter(bytes, inflate)) files.set(item.filename, item);
  } catch {
    throw new Error(DAMAGED);
  }
  return {
    async readXml(path) {
      const item = files.get(path);
      if (!item) return null;
      const text = new TextDecoder().decode(await item.read());
      return new DOMParser().parseFromString(text, 'application/xml');
    },
  };
}

/** Targets are relative to the folder of the workbook, or begin at the top. */
const resolve = (target) => (target.startsWith('/') ? target.slice(1) : `xl/${target}`);

const list = (node, name) => (node ? [...node.getElementsByTagNameNS('*', name)] : []);

/** Texts that cells share; how words are pronounced is no part of them. */
function readTexts(xml) {
  return list(xml, 'si').map((item) =>
    list(item, 't')
      .filter((text) => text.parentNode.localName !== 'rPh')
      .map((text) => text.textContent)
      .join(''),
  );
}

/** For each style of cells whether it shows a date. */
function readDateStyles(xml) {
  const codes = Object.fromEntries(
    list(xml, 'numFmt').map((format) => [
      format.getAttribute('numFmtId'),
      format.getAttribute('formatCode') ?? '',
    ]),
  );
  const isDate = (id) => {
    if (id in codes) return /[ymdhs]/i.test(codes[id].replace(/"[^"]*"|\[[^\]]*\]|\\./g, ''));
    return DATE_FORMATS.some(([first, last]) => Number(id) >= first && Number(id) <= last);
  };
  const styles = list(xml, 'cellXfs')[0];
  return list(styles, 'xf').map((style) => isDate(style.getAttribute('numFmtId') ?? '0'));
}

function readRows(xml, context) {
  const rows = list(xml, 'row').map((row) => {
    const cells = [];
    list(row, 'c').forEach((cell, place) => {
      const column = readColumn(cell.getAttribute('r')) ?? place;
      if (column < MOST_COLUMNS) cells[column] = readCell(cell, context);
    });
    return Array.from(cells, (cell) => cell ?? '');
  });
  return rows.filter((row) => row.some((cell) => cell.trim() !== ''));
}

/** "AB12" -> 27. */
function readColumn(reference) {
  const letters = /^[A-Z]{1,3}/.exec(reference ?? '')?.[0];
  if (!letters) return null;
  return [...letters].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 64, 0) - 1;
}

function readCell(cell, { texts, dates, is1904 }) {
  const type = cell.getAttribute('t') ?? 'n';
  if (type === 'inlineStr') return readTextsOf(cell);
  const value = list(cell, 'v')[0]?.textContent ?? '';
  if (value === '') return '';
  if (type === 's') return texts[Number(value)] ?? '';
  if (type === 'b') return value === '1' ? 'true' : 'false';
  if (type !== 'n') return value;
  const isDate = dates[Number(cell.getAttribute('s') ?? 0)];
  return isDate ? toIso(Number(value), is1904) : String(Number(value));
}

const readTextsOf = (cell) =>
  list(cell, 't')
    .map((text) => text.textContent)
    .join('');

/** Days since the first one of the workbook as a date, with a time where there is one. */
function toIso(days, is1904) {
  if (!Number.isFinite(days)) return '';
  const first = is1904 ? Date.UTC(1904, 0, 1) : Date.UTC(1899, 11, 30);
  // Excel takes 1900 for a leap year, so days before March 1900 are one less.
  const shift = !is1904 && days < 60 ? 1 : 0;
  const moment = new Date(first + Math.round((days + shift) * DAY));
  if (Number.isNaN(moment.getTime())) return String(days);
  const [day, time] = moment.toISOString().split('T');
  return time.startsWith('00:00:00') ? day : `${day}T${time.slice(0, 8)}`;
}
