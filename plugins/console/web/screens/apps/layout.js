/** Where the tables of a diagram are, and how a link between two of them runs. */

export const WIDTH = 200;
export const LINE = 19;
export const HEAD = 30;
/** Middle of the first line of fields, from the top of its table. */
const FIRST_LINE = HEAD + 10;
const GAP_X = 90;
const GAP_Y = 26;
const EDGE = 4;
/** Fields that a table shows, and columns of tables. */
const MOST_FIELDS = 12;
const MOST_COLUMNS = 4;
/** How far a link bends away from a table, and the height of its end. */
const BEND = 40;
const END = 15;

/** Tables with their places; each is one column right of the furthest table that it links to. */
export function placeTables(entities) {
  const columns = findColumns(entities);
  const bottoms = [];
  return entities.map((entity) => {
    const column = columns.get(entity.name);
    const fields = chooseFields(entity);
    const hidden = entity.fields.length - fields.length;
    const lines = fields.length + (hidden > 0 ? 1 : 0);
    const height = HEAD + lines * LINE + 2 * EDGE;
    const top = bottoms[column] ?? EDGE;
    bottoms[column] = top + height + GAP_Y;
    return { entity, fields, hidden, height, left: EDGE + column * (WIDTH + GAP_X), top };
  });
}

/** The size of a drawing that holds all tables. */
export function measureAll(boxes) {
  const rights = boxes.map((box) => box.left + WIDTH);
  const bottoms = boxes.map((box) => box.top + box.height);
  return {
    width: Math.max(WIDTH, ...rights) + 2 * EDGE,
    height: Math.max(60, ...bottoms) + 2 * EDGE,
  };
}

function findColumns(entities) {
  const columns = new Map();
  const findColumn = (entity, path) => {
    const { name } = entity;
    if (columns.has(name)) return columns.get(name);
    // Tables that link to each other in a circle begin somewhere.
    if (path.has(name)) return 0;
    const targets = entity.fields
      .map((field) => entities.find((candidate) => candidate.name === field.references))
      .filter((target) => target && target !== entity);
    const behind = targets.map((target) => findColumn(target, new Set([...path, name])));
    const column = Math.min(MOST_COLUMNS, Math.max(-1, ...behind) + 1);
    columns.set(name, column);
    return column;
  };
  entities.forEach((entity) => findColumn(entity, new Set()));
  return columns;
}

/** Links first of all: without them a diagram says little. */
function chooseFields(entity) {
  const links = entity.fields.filter((field) => field.references);
  const others = entity.fields.filter((field) => !field.references);
  const room = Math.max(0, MOST_FIELDS - links.length);
  return [...others.slice(0, room), ...links].slice(0, MOST_FIELDS);
}

/** A link from a line of fields to the head of another table: its path, and where it ends. */
export function layWire(from, line, to) {
  const isBackwards = from.left > to.left;
  const startX = isBackwards ? from.left : from.left + WIDTH;
  const startY = from.top + FIRST_LINE + line * LINE;
  const endX = to.left + WIDTH;
  const endY = to.top + END;
  const bendX = startX + (isBackwards ? -BEND : BEND);
  const path = `M${startX} ${startY} C${bendX} ${startY} ${endX + BEND} ${endY} ${endX} ${endY}`;
  return { path, endX, endY };
}
