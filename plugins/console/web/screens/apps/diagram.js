/** The tables of an app and their links, as SVG: the targets of links are on the left. */
import { html, useRef, useState } from '../../core/kit.js';
import { go } from '../../core/router.js';
import { findApp, toWords } from '../../core/store.js';
import { openBuilder } from '../builder/open.js';

const WIDTH = 200;
const LINE = 19;
const HEAD = 30;
/** Distance of the first line of text from the head. */
const BASE = HEAD + 15;
/** Height of the circle that links are drawn from. */
const GRIP = 15;
const LONGEST_NAME = 20;
const LONGEST_TARGET = 12;

export function Diagram({ app }) {
  const boxes = placeTables(app.entities);
  const { width, height } = measureAll(boxes);
  const isBuilder = Boolean(findApp(app.id)?.admin);
  const { box: drawing, drag, start, follow, end } = useDrag(app.id, boxes);
  return html`<div class="scrollx" tabindex="0" role="region" aria-label="Diagram">
    ${isBuilder && html`<p class="dim">Drag the circle of a table to another one to link them.</p>`}
    <svg
      ref=${drawing}
      onPointerMove=${follow}
      onPointerUp=${end}
      class="diagram"
      width=${width}
      height=${height}
      viewBox=${`0 0 ${width} ${height}`}
      role="img"
      aria-label=${`Tables of ${app.name} and their links`}
    >
      ${boxes.map((box) => html`<${Wires} box=${box} boxes=${boxes} />`)}
      ${boxes.map(
        (box) => html`<${Box}
        key=${box.entity.name}
        appId=${app.id}
        box=${box}
        start=${isBuilder ? start : null}
      />`,
      )}
      ${drag && html`<line class="wire" x1=${drag.fromX} y1=${drag.fromY} x2=${drag.x} y2=${drag.y} />`}
    </svg>
  </div>`;
}

/** A link that is drawn from the circle of a table to another table, which gets a column for it. */
function useDrag(appId, boxes) {
  const box = useRef(null);
  const [drag, setDrag] = useState(null);
  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(box.current.getScreenCTM().inverse());
  };
  const start = (event, from) => {
    event.preventDefault();
    const { x, y } = place(event);
    setDrag({ from: from.entity.name, fromX: from.left + WIDTH, fromY: from.top + GRIP, x, y });
  };
  const follow = (event) => {
    if (!drag) return;
    const { x, y } = place(event);
    setDrag({ ...drag, x, y });
  };
  const end = (event) => {
    if (!drag) return;
    setDrag(null);
    const { x, y } = place(event);
    const isOver = ({ left, top, height }) =>
      x >= left && x <= left + WIDTH && y >= top && y <= top + height;
    const target = boxes.find(isOver)?.entity.name;
    if (!target || target === drag.from) return;
    const column = { kind: 'link', target, title: toWords(target) };
    openBuilder('addColumn', appId, drag.from, column);
  };
  return { box, drag, start, follow, end };
}

/** The links of a table to others. */
function Wires({ box, boxes }) {
  return box.fields.map((field, line) => {
    const target = boxes.find(({ entity }) => entity.name === field.references);
    if (!target) return null;
    const { path, endX, endY } = layWire(box, line, target);
    return html`<path class="wire" d=${path} /><circle class="end" cx=${endX} cy=${endY} r="3" />`;
  });
}

function Box({ appId, box, start }) {
  const { entity, fields, hidden, height, left, top } = box;
  return html`<g
    class="box"
    transform=${`translate(${left} ${top})`}
    onClick=${() => go(['data', appId, entity.name])}
  >
    <rect width=${WIDTH} height=${height} rx="7" />
    ${
      start &&
      html`<circle
        class="grip"
        cx=${WIDTH}
        cy=${GRIP}
        r="7"
        onClick=${(event) => event.stopPropagation()}
        onPointerDown=${(event) => start(event, box)}
      >
        <title>Link ${toWords(entity.name)} to another table</title>
      </circle>`
    }
    <text class="name" x="12" y="20">${toWords(entity.name)}</text>
    <line x1="0" x2=${WIDTH} y1=${HEAD} y2=${HEAD} />
    ${fields.map((field, line) => html`<${Field} field=${field} top=${BASE + line * LINE} />`)}
    ${
      hidden > 0 &&
      html`<text class="type" x="48" y=${BASE + fields.length * LINE}>${hidden} more</text>`
    }
  </g>`;
}

const Field = ({ field, top }) => html`<text x="12" y=${top}>
    ${field.name.slice(0, LONGEST_NAME)}
    ${field.required ? ' *' : ''}
  </text>
  <text class="type" x=${WIDTH - 10} y=${top}>${nameType(field)}</text>`;

function nameType(field) {
  if (field.references) return `→ ${field.references.slice(0, LONGEST_TARGET)}`;
  return field.enum_values.length ? 'enum' : field.type;
}

// --- where the tables of a diagram are, and how a link between two of them runs

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
function placeTables(entities) {
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
function measureAll(boxes) {
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
function layWire(from, line, to) {
  const isBackwards = from.left > to.left;
  const startX = isBackwards ? from.left : from.left + WIDTH;
  const startY = from.top + FIRST_LINE + line * LINE;
  const endX = to.left + WIDTH;
  const endY = to.top + END;
  const bendX = startX + (isBackwards ? -BEND : BEND);
  const path = `M${startX} ${startY} C${bendX} ${startY} ${endX + BEND} ${endY} ${endX} ${endY}`;
  return { path, endX, endY };
}
