/** Workbooks with several sheets: which table each is, and which comes first. */
import { toName } from './mapping.js';

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
