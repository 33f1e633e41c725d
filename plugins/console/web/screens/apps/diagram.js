/** The tables of an app and their links, as SVG: the targets of links are on the left. */
import { html } from '../../core/kit.js';
import { go } from '../../core/router.js';
import { words } from '../../core/store.js';

const [WIDE, LINE, HEAD, GAP_X, GAP_Y, MOST] = [200, 19, 30, 90, 26, 12];

export function Diagram({ app }) {
  const boxes = place(app.entities);
  const width = Math.max(...boxes.map((b) => b.x + WIDE), WIDE) + 8;
  const height = Math.max(...boxes.map((b) => b.y + b.height), 60) + 8;
  return html`<div class="scrollx" tabindex="0" role="region" aria-label="Diagram">
    <svg
      class="diagram"
      width=${width}
      height=${height}
      viewBox=${`0 0 ${width} ${height}`}
      role="img"
      aria-label=${`Tables of ${app.name} and their links`}
    >
      ${boxes.flatMap((box) =>
        box.fields.map(
          (f, i) =>
            f.references &&
            wire(
              box,
              i,
              boxes.find((b) => b.entity.name === f.references),
            ),
        ),
      )}
      ${boxes.map(
        (box) => html`<g
          key=${box.entity.name}
          class="box"
          transform=${`translate(${box.x} ${box.y})`}
          onClick=${() => go(['data', app.id, box.entity.name])}
        >
          <rect width=${WIDE} height=${box.height} rx="7" />
          <text class="name" x="12" y="20">${words(box.entity.name)}</text>
          <line x1="0" x2=${WIDE} y1=${HEAD} y2=${HEAD} />
          ${box.fields.map(
            (f, i) => html`<text x="12" y=${HEAD + 15 + i * LINE}>
                ${f.name.slice(0, 20)}
                ${f.required ? ' *' : ''}
              </text>
              <text class="type" x=${WIDE - 10} y=${HEAD + 15 + i * LINE}>
                ${
                  f.references
                    ? `→ ${f.references.slice(0, 12)}`
                    : f.enum_values.length
                      ? 'enum'
                      : f.type
                }
              </text>`,
          )}
          ${
            box.more > 0 &&
            html`<text class="type" x="48" y=${HEAD + 15 + box.fields.length * LINE}>
              ${box.more} more
            </text>`
          }
        </g>`,
      )}
    </svg>
  </div>`;
}

/** Put each table one column right of the furthest table that it links to. */
function place(entities) {
  const column = new Map();
  const depth = (entity, seen) => {
    if (column.has(entity.name)) return column.get(entity.name);
    if (seen.has(entity.name)) return 0;
    const targets = entity.fields
      .map((f) => entities.find((e) => e.name === f.references))
      .filter((e) => e && e !== entity);
    const found = Math.min(
      4,
      Math.max(-1, ...targets.map((t) => depth(t, new Set([...seen, entity.name])))) + 1,
    );
    column.set(entity.name, found);
    return found;
  };
  const bottoms = [];
  return entities.map((entity) => {
    const x = depth(entity, new Set());
    const linked = entity.fields.filter((f) => f.references);
    const fields = [
      ...entity.fields.filter((f) => !f.references).slice(0, Math.max(0, MOST - linked.length)),
      ...linked,
    ].slice(0, MOST);
    const more = entity.fields.length - fields.length;
    const height = HEAD + (fields.length + (more > 0 ? 1 : 0)) * LINE + 8;
    const y = bottoms[x] ?? 4;
    bottoms[x] = y + height + GAP_Y;
    return { entity, fields, more, height, x: 4 + x * (WIDE + GAP_X), y };
  });
}

function wire(from, i, to) {
  if (!to) return null;
  const y = from.y + HEAD + 10 + i * LINE;
  const right = to.x + WIDE;
  const [x1, x2] = from.x > to.x ? [from.x, right] : [from.x + WIDE, right];
  const bend = from.x > to.x ? -40 : 40;
  const y2 = to.y + 15;
  return html`<path class="wire" d=${`M${x1} ${y} C${x1 + bend} ${y} ${x2 + 40} ${y2} ${x2} ${y2}`} />
    <circle class="end" cx=${x2} cy=${y2} r="3" />`;
}
