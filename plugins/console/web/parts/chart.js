/** Small charts as SVG: bars over time, and a line. */
import { html } from '../core/kit.js';

/** Width of a bar with the gap behind it, and of the gap. */
const STEP = 12;
const GAP = 2;
/** The field that a line is drawn in; one unit above and below it is free. */
const LINE_WIDTH = 100;
const LINE_HEIGHT = 20;
const LINE_RISE = 18;

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
