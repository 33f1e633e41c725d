/** Which field each column of a file is, and the rows as the server reads and would store them. */
import { html } from '../../core/kit.js';
import { Listing } from '../../core/screen.js';
import { toWords } from '../../core/store.js';
import { Value } from '../../parts/values.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** What people can be named by where a link leads to an account. */
const OF_ACCOUNTS = ['username'];

/** "Close date" -> "close_date". */
export function toName(head) {
  const joined = head.toLowerCase().replace(/[^a-z0-9]+/g, '_');
  return joined.replace(/^_|_$/g, '');
}

/**
 * What a column can be: the id, a field, or a link by a unique field of the other table.
 * @returns {{name: string, field: any, key?: string}[]}
 */
export function listTargets(app, entity) {
  const targets = [{ name: 'id', field: { name: 'id', type: entity.id_type ?? 'uuid' } }];
  for (const field of entity.fields.filter((candidate) => !candidate.locked)) {
    targets.push({ name: field.name, field });
    for (const key of listKeys(app, field))
      targets.push({ name: `${field.name}.${key}`, field, key });
  }
  return targets;
}

/** The fields that a link's target can be named by: those with a unique index of their own. */
function listKeys(app, field) {
  const target = field.references;
  if (!target) return [];
  if (target === 'core:users') return OF_ACCOUNTS;
  const entity = app.entities.find((candidate) => candidate.name === target);
  const single = (entity?.unique ?? []).filter((key) => key.length === 1 && key[0] !== 'id');
  return single.map(([name]) => name);
}

/** Which target each column is, by its name and, for links, by what is in it. */
export function matchTargets(heads, rows, targets) {
  return heads.map((head, index) => {
    const exact = targets.find((target) => target.name === head.trim().toLowerCase());
    if (exact) return exact.name;
    const name = toName(head);
    const byName = (target) =>
      [target.name, target.name.replace(/_id$/, '')].includes(name) && target.name !== 'id';
    const target = targets.find(byName);
    if (!target?.field.references) return target?.name ?? '';
    const hasIds = rows.every((row) => !row[index] || UUID.test(row[index].trim()));
    const byKey = targets.find((candidate) => candidate.field === target.field && candidate.key);
    return !hasIds && byKey ? byKey.name : target.name;
  });
}

/** A cell as the server reads it: spreadsheets write lists with semicolons. */
function toServer(field, text) {
  const trimmed = text.trim();
  const isPlainList = field.type === '[text]' && trimmed && trimmed[0] !== '[';
  return isPlainList ? JSON.stringify(text.split(/\s*[;|]\s*/)) : text;
}

/** The rows of the chosen columns, headed by the names of their targets. */
export function chooseRows(rows, names, targets) {
  const columns = names
    .map((name, index) => ({ index, target: targets.find((target) => target.name === name) }))
    .filter(({ target }) => target);
  const heads = columns.map(({ target }) => target.name);
  const choose = (row) =>
    columns.map(({ index, target }) => toServer(target.field, row[index] ?? ''));
  return [heads, ...rows.map(choose)];
}

// --- workbooks with several sheets: which table each is, and which comes first

/** The table that a sheet is by its name. */
export function findEntity(app, sheet) {
  const name = toName(sheet.name);
  return app.entities.find((entity) => [entity.name, `${entity.name}s`].includes(name));
}

/** The sheet of a table; else the first one. */
export function findSheet(app, entity, sheets) {
  const index = sheets.findIndex((sheet) => findEntity(app, sheet) === entity);
  return Math.max(0, index);
}

/**
 * Sheets that are tables and were not imported yet, those that others link to first.
 * @param {Set<string>} done Names of sheets.
 */
export function listNext(app, sheets, done) {
  const waiting = sheets
    .filter((sheet) => !done.has(sheet.name))
    .map((sheet) => ({ sheet, entity: findEntity(app, sheet) }))
    .filter(({ entity }) => entity);
  const names = waiting.map(({ entity }) => entity.name);
  const count = ({ entity }) =>
    entity.fields.filter(
      ({ references }) => references !== entity.name && names.includes(references),
    ).length;
  return waiting.toSorted((left, right) => count(left) - count(right));
}

// --- the first rows of an import as they would be stored; those with errors as they were sent

/** Rows that are shown. */
export const SHOWN = 20;

/** @param {{appId: string, entity: any, targets: any[], csv: string[][], report: any}} props */
export function Preview({ appId, entity, targets, csv: [heads, ...sentRows], report }) {
  const preview = report?.preview ?? [];
  const stored = Object.fromEntries(preview.map(({ row, record }) => [row, record]));
  const sent = heads.map((name) => targets.find((target) => target.name === name).field);
  const fields = [...sent, ...listFilledFields(entity, sent, Object.values(stored))];
  const rows = sentRows.slice(0, SHOWN).map((cells, index) => ({ number: index + 1, cells }));
  const titles = fields.map((field) => toWords(field.name));
  return html`<${Listing}
    heads=${['Row', ...titles]}
    tabindex="0"
    role="region"
    aria-label="First rows as they would be"
  >
        ${rows.map(
          ({ number, cells }) => html`<tr key=${number}>
            <td class="dim">${number}</td>
            ${fields.map(
              (field, index) => html`<${Cell}
                key=${field.name}
                appId=${appId}
                field=${field}
                sent=${cells[index]}
                record=${stored[number]}
                problem=${findProblem(report, number, field)}
                titles=${report?.links[field.name]}
              />`,
            )}
          </tr>`,
        )}
  <//>`;
}

/** The fields that the server fills itself. */
function listFilledFields(entity, sent, records) {
  const isFilled = ({ name }) => records.some((record) => name in record && record[name] !== null);
  return entity.fields.filter((field) => !sent.includes(field) && isFilled(field));
}

/** The error of a cell; of a link by a key its field has the name of both. */
const findProblem = (report, row, field) =>
  report?.errors.find((error) => error.row === row && error.field?.split('.')[0] === field.name);

function Cell({ appId, field, sent, record, problem, titles }) {
  const value = record?.[field.name];
  const content = record
    ? html`<${Value} field=${field} value=${value} title=${titles?.[value]} appId=${appId} />`
    : sent || html`<span class="dim">–</span>`;
  return html`<td class=${problem ? 'wrong' : ''} title=${problem?.error}>${content}</td>`;
}
