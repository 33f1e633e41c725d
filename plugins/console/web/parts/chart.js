/** Charts as SVG: bars over time, a line, and the groups of records with their figures as a table. */
import { html } from '../core/kit.js';
import { A } from '../core/router.js';

/** Width of a bar with the gap behind it, and of the gap. */
const STEP = 12;
const GAP = 2;
/** The field that a line is drawn in; one unit above and below it is free. */
const LINE_WIDTH = 100;
const LINE_HEIGHT = 20;
const LINE_RISE = 18;
/** The field of a plot, which is stretched to its box, and the part of a step that a bar fills. */
const PLOT = 100;
const FILLED = 0.8;

const addUp = (bar) => bar.parts.reduce((sum, [, number]) => sum + number, 0);

/**
 * @param {{bars: {label: string, parts: [string, number][]}[], height?: number,
 *   title: string}} props Parts are (class, number).
 */
export function Bars({ bars, height = 56, title }) {
  const highest = Math.max(1, ...bars.map(addUp));
  return html`<svg
    class="bars"
    role="img"
    aria-label=${title}
    viewBox=${`0 0 ${bars.length * STEP} ${height}`}
    preserveAspectRatio="none"
  >
    ${bars.map(
      (bar, index) => html`<${Bar}
        key=${index}
        bar=${bar}
        left=${index * STEP}
        height=${height}
        highest=${highest}
      />`,
    )}
  </svg>`;
}

function Bar({ bar, left, height, highest }) {
  const width = STEP - GAP;
  const texts = bar.parts.map(([name, number]) => `${number} ${name}`);
  let top = height;
  const parts = bar.parts.map(([name, number]) => {
    const partHeight = (number / highest) * (height - GAP);
    top -= partHeight;
    return { name, top, height: partHeight };
  });
  return html`<g>
    <title>${bar.label}: ${texts.join(', ')}</title>
    <rect class="ground" x=${left} y="0" width=${width} height=${height} />
    ${parts.map(
      (part) => html`<rect
        key=${part.name}
        class=${part.name}
        x=${left}
        y=${part.top}
        width=${width}
        height=${part.height}
      />`,
    )}
  </g>`;
}

/** @param {{values: number[], title: string}} props */
export function Spark({ values, title }) {
  if (values.length < 2) return null;
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const points = values.map((value, index) => {
    const left = (index / (values.length - 1)) * LINE_WIDTH;
    const top = LINE_HEIGHT - ((value - low) / span) * LINE_RISE;
    return `${left},${top}`;
  });
  return html`<svg
    class="spark"
    viewBox="0 0 100 22"
    preserveAspectRatio="none"
    role="img"
    aria-label=${title}
  >
    <polyline points=${points.join(' ')} />
  </svg>`;
}

/**
 * Figures of groups. Bars of kinds are a table whose lines have a bar each; what is in an order, as
 * months are, is drawn from left to right, with a table to open.
 * @param {{groups: {key: string, title: string, number: number, text: string, tint?: string, address?: any}[],
 *   isLine: boolean, isOrdered: boolean, names: [group: string, figure: string]}} props `address` is
 *   the query of the records of a group, behind the address of their table `to`.
 */
export function Chart({ groups, isLine, isOrdered, names }) {
  if (!groups.length) return html`<p class="dim">There is nothing to draw.</p>`;
  if (!isLine && !isOrdered) return html`<${Figures} groups=${groups} names=${names} hasBars />`;
  return html`<${Plot} groups=${groups} isLine=${isLine} names=${names} />
    <details>
      <summary class="dim">Numbers</summary>
      <${Figures} groups=${groups} names=${names} />
    </details>`;
}

function Figures({ groups, names, hasBars = false }) {
  const highest = Math.max(...groups.map(({ number }) => Math.abs(number))) || 1;
  return html`<table class="figures">
    <thead class=${hasBars ? 'unseen' : ''}>
      <tr><th>${names[0]}</th><th class="num">${names[1]}</th></tr>
    </thead>
    <tbody>
      ${groups.map(
        ({ key, title, number, text, tint, address }) => html`<tr key=${key}>
          <th scope="row" class="cut" title=${title}>
            ${address ? html`<${A} to=${address.to} query=${address.query}>${title}<//>` : title}
          </th>
          <td class="num">${text}</td>
          ${
            hasBars &&
            html`<td aria-hidden="true">
              <svg class=${number < 0 ? 'below' : tint}>
                <rect width=${`${(100 * Math.abs(number)) / highest}%`} height="100%" rx="2" />
              </svg>
            </td>`
          }
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function Plot({ groups, isLine, names }) {
  const numbers = groups.map(({ number }) => number);
  const top = Math.max(0, ...numbers);
  const bottom = Math.min(0, ...numbers);
  const span = top - bottom || 1;
  const step = PLOT / groups.length;
  const place = (number) => (PLOT * (top - number)) / span;
  const points = numbers.map((number, index) => `${(index + 0.5) * step},${place(number)}`);
  const first = groups[0];
  const last = groups.at(-1);
  const highest = groups[numbers.indexOf(Math.max(...numbers))];
  return html`<figure class="plot">
    <figcaption class="dim">${names[1]}, at most ${highest.text} (${highest.title})</figcaption>
    <svg
      role="img"
      aria-label=${`${names[1]} by ${names[0]}: ${groups.length} from ${first.title} to ${last.title}`}
      viewBox="0 0 100 100"
      preserveAspectRatio="none"
    >
      <line x1="0" x2="100" y1=${place(0)} y2=${place(0)} />
      ${isLine && html`<polyline points=${points.join(' ')} />`}
      ${groups.map(({ key, title, number, text }, index) => {
        const height = Math.abs(place(number) - place(0));
        return html`<rect
          key=${key}
          class=${isLine ? 'ground' : ''}
          x=${(index + (1 - FILLED) / 2) * step}
          width=${FILLED * step}
          y=${isLine ? 0 : Math.min(place(number), place(0))}
          height=${isLine ? PLOT : height}
        >
          <title>${title}: ${text}</title>
        </rect>`;
      })}
    </svg>
    <div class="row dim">
      <span>${first.title}</span>
      <span class="grow" />
      <span>${last.title}</span>
    </div>
  </figure>`;
}
