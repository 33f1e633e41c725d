/** CSV as RFC 4180 has it; the separator is the one that the first line has most of. */

/** @param {string} text @returns {string[][]} */
export function parseCsv(text) {
  const source = text.replace(/^\ufeff/, '');
  const head = source.slice(0, source.search(/\r?\n|$/));
  const separator = [',', ';', '\t'].reduce((best, s) => (head.split(s).length > head.split(best).length ? s : best));
  const rows = [];
  let [row, cell, quoted] = [[], '', false];
  for (let i = 0; i < source.length; i += 1) {
    const c = source[i];
    if (quoted) {
      if (c === '"' && source[i + 1] === '"') { cell += '"'; i += 1; } else if (c === '"') quoted = false; else cell += c;
    } else if (c === '"' && cell === '') quoted = true;
    else if (c === separator) { row.push(cell); cell = ''; } else if (c === '\n') { row.push(cell.replace(/\r$/, '')); rows.push(row); row = []; cell = ''; } else cell += c;
  }
  if (cell !== '' || row.length) rows.push([...row, cell]);
  return rows.filter((r) => r.length > 1 || r[0].trim() !== '');
}

/** @param {string[][]} rows */
export const writeCsv = (rows) => rows.map((row) => row.map((c) => (/[",;\n\r\t]/.test(c) ? `"${c.replaceAll('"', '""')}"` : c)).join(',')).join('\r\n');

const BOOLEANS = { true: 'true', yes: 'true', y: 'true', 1: 'true', false: 'false', no: 'false', n: 'false', 0: 'false' };

/** The value of a cell to send, or a sentence about what is wrong with it. */
export function convert(field, text) {
  const value = text.trim();
  if (value === '') return field.required ? { error: 'is required' } : { value: null };
  if (field.enum_values?.length && !field.enum_values.includes(value)) return { error: `must be one of ${field.enum_values.join(', ')}` };
  switch (field.type) {
    case 'number': return /^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(value) ? { value } : { error: 'is no number' };
    case 'boolean': return value.toLowerCase() in BOOLEANS ? { value: BOOLEANS[value.toLowerCase()] } : { error: 'is neither true nor false' };
    case 'date': return /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)) ? { value } : { error: 'is no date as 2026-01-31' };
    case 'timestamp': return Number.isNaN(Date.parse(value)) ? { error: 'is no time as 2026-01-31T10:00:00Z' } : { value };
    case 'json': case '[text]': case '[number]':
      try { return { value: JSON.parse(value) }; } catch { return field.type === '[text]' ? { value: value.split(/\s*[;|]\s*/) } : { error: 'is no JSON' }; }
    default: return { value: field.references || field.type === 'uuid' ? value : text };
  }
}

/** Which field each column of the file is, by its name. */
export function mapping(heads, fields) {
  const plain = (t) => t.toLowerCase().replace(/[^a-z0-9]+/g, '_').replace(/^_|_$/g, '');
  return heads.map((head) => fields.find((f) => [f.name, f.name.replace(/_id$/, '')].includes(plain(head)))?.name ?? '');
}

/** Convert all rows: `{records, errors, bad}`; errors name row and column, rows count from 1. */
export function check(rows, names, fields) {
  const [records, errors, bad] = [[], [], []];
  const chosen = names.map((name) => fields.find((f) => f.name === name));
  const missing = fields.filter((f) => f.required && !names.includes(f.name) && (f.default === null || f.default === undefined));
  rows.forEach((row, i) => {
    const record = {};
    const before = errors.length;
    missing.forEach((f) => errors.push({ row: i + 1, field: f.name, value: '', error: 'is required and not in the file' }));
    chosen.forEach((field, c) => {
      if (!field) return;
      const { value, error } = convert(field, row[c] ?? '');
      if (error) errors.push({ row: i + 1, field: field.name, value: row[c] ?? '', error });
      else record[field.name] = value;
    });
    if (errors.length > before) bad.push(row); else records.push({ row: i + 1, record });
  });
  return { records, errors, bad };
}
