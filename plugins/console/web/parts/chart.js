/** Small charts as SVG: bars over time, and a line. */
import { html } from '../core/kit.js';

/**
 * @param {{bars: {label: string, parts: [string, number][]}[], height?: number,
 *   title: string}} props Parts are (class, number).
 */
export function Bars({ bars, height = 56, title }) {
  const top = Math.max(1, ...bars.map((b) => b.parts.reduce((sum, [, n]) => sum + n, 0)));
  const width = 12;
  return html`<svg
    class="bars"
    role="img"
    aria-label=${title}
    viewBox=${`0 0 ${bars.length * width} ${height}`}
    preserveAspectRatio="none"
  >
    ${bars.map((bar, i) => {
      let y = height;
      return html`<g key=${i}>
        <title>${bar.label}: ${bar.parts.map(([name, n]) => `${n} ${name}`).join(', ')}</title>
        <rect class="ground" x=${i * width} y="0" width=${width - 2} height=${height} />
        ${bar.parts.map(([name, n]) => {
          const h = (n / top) * (height - 2);
          y -= h;
          return html`<rect
            key=${name}
            class=${name}
            x=${i * width}
            y=${y}
            width=${width - 2}
            height=${h}
          />`;
        })}
      </g>`;
    })}
  </svg>`;
}

/** @param {{values: number[], title: string}} props */
export function Spark({ values, title }) {
  if (values.length < 2) return null;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const points = values.map(
    (v, i) => `${(i / (values.length - 1)) * 100},${20 - ((v - low) / (high - low || 1)) * 18}`,
  );
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
