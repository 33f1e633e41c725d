/** CSV as RFC 4180 has it; the separator is the one that the first line has most of. */

/** @param {string} text @returns {string[][]} */
export function parseCsv(text) {
  const source = text.replace(/^\ufeff/, '');
  const head = source.slice(0, source.search(/\r?\n|$/));
  const separator = [',', ';', '\t'].reduce((best, s) =>
    head.split(s).length > head.split(best).length ? s : best,
  );
  const rows = [];
  let [row, cell, quoted] = [[], '', false];
  for (let i = 0; i < source.length; i += 1) {
    const c = source[i];
    if (quoted) {
      if (c === '"' && source[i + 1] === '"') {
        cell += '"';
        i += 1;
      } else if (c === '"') quoted = false;
      else cell += c;
    } else if (c === '"' && cell === '') quoted = true;
    else if (c === separator) {
      row.push(cell);
      cell = '';
    } else if (c === '\n') {
      rows.push([...row, cell.replace(/\r$/, '')]);
      row = [];
      cell = '';
    } else cell += c;
  }
  if (cell !== '' || row.length) rows.push([...row, cell]);
  return rows.filter((r) => r.length > 1 || r[0].trim() !== '');
}

const quoted = (cell) => (/[",;\n\r\t]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

/** @param {string[][]} rows */
export const writeCsv = (rows) => rows.map((row) => row.map(quoted).join(',')).join('\r\n');

/** Which field each column of the file is, by its name. */
export function mapping(heads, fields) {
  const plain = (t) =>
    t
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '_')
      .replace(/^_|_$/g, '');
  return heads.map((head) => {
    const field = fields.find((f) => [f.name, f.name.replace(/_id$/, '')].includes(plain(head)));
    return field?.name ?? '';
  });
}

const BOOLEANS = { yes: 'true', y: 'true', 1: 'true', no: 'false', n: 'false', 0: 'false' };

/** A cell as the server reads it: spreadsheets write `yes`, and lists with semicolons. */
function readable(field, text) {
  if (field.type === 'boolean') return BOOLEANS[text.trim().toLowerCase()] ?? text;
  if (field.type !== '[text]' || !text.trim() || text.trim()[0] === '[') return text;
  return JSON.stringify(text.split(/\s*[;|]\s*/));
}

/** The rows of the chosen columns, headed by the names of their fields. */
export function chosenRows(rows, names, fields) {
  const columns = names
    .map((name, at) => ({ at, field: fields.find((f) => f.name === name) }))
    .filter(({ field }) => field);
  const heads = columns.map(({ field }) => field.name);
  return [
    heads,
    ...rows.map((row) => columns.map(({ at, field }) => readable(field, row[at] ?? ''))),
  ];
}
