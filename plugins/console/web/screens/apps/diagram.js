/** The tables of an app and their links, as SVG: the targets of links are on the left. */
import { html } from '../../core/kit.js';
import { go } from '../../core/router.js';
import { toWords } from '../../core/store.js';
import { HEAD, LINE, WIDTH, layWire, measureAll, placeTables } from './layout.js';

/** Distance of the first line of text from the head. */
const BASE = HEAD + 15;
const LONGEST_NAME = 20;
const LONGEST_TARGET = 12;

export function Diagram({ app }) {
  const boxes = placeTables(app.entities);
  const { width, height } = measureAll(boxes);
  return html`<div class="scrollx" tabindex="0" role="region" aria-label="Diagram">
    <svg
      class="diagram"
      width=${width}
      height=${height}
      viewBox=${`0 0 ${width} ${height}`}
      role="img"
      aria-label=${`Tables of ${app.name} and their links`}
    >
      ${boxes.map((box) => html`<${Wires} box=${box} boxes=${boxes} />`)}
      ${boxes.map((box) => html`<${Box} key=${box.entity.name} appId=${app.id} box=${box} />`)}
    </svg>
  </div>`;
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

function Box({ appId, box }) {
  const { entity, fields, hidden, height, left, top } = box;
  return html`<g
    class="box"
    transform=${`translate(${left} ${top})`}
    onClick=${() => go(['data', appId, entity.name])}
  >
    <rect width=${WIDTH} height=${height} rx="7" />
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
