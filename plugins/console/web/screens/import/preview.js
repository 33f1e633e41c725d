/** The first rows of an import as they would be stored; those with errors as they were sent. */
import { html } from '../../core/kit.js';
import { words } from '../../core/store.js';
import { titlesOf } from '../../parts/titles.js';
import { Value } from '../../parts/values.js';

/** Rows that are shown. */
export const SHOWN = 20;

/** Titles of the records that the first rows link to, by field and id. */
export async function linksOf(appId, entity, report) {
  const rows = (report.preview ?? []).map((p) => p.record);
  const links = entity.fields.filter((f) => f.references);
  const found = await Promise.all(
    links.map((f) =>
      titlesOf(
        appId,
        f.references,
        rows.map((r) => r[f.name]),
      ),
    ),
  );
  return Object.fromEntries(links.map((f, i) => [f.name, found[i]]));
}

/** @param {{appId: string, entity: any, csv: string[][], report: any}} props */
export function Preview({ appId, entity, csv: [heads, ...sent], report }) {
  const stored = Object.fromEntries((report?.preview ?? []).map((p) => [p.row, p.record]));
  const filled = (f) => Object.values(stored).some((r) => r[f.name] !== null && f.name in r);
  const fields = [
    ...heads.map((name) => entity.fields.find((f) => f.name === name)),
    ...entity.fields.filter((f) => !heads.includes(f.name) && filled(f)),
  ];
  const cell = (f, row, at) => {
    const wrong = report?.errors.find((e) => e.row === row && e.field === f.name);
    const record = stored[row];
    const text = sent[row - 1][at] || html`<span class="dim">–</span>`;
    return html`<td key=${f.name} class=${wrong ? 'wrong' : ''} title=${wrong?.error}>
      ${
        record
          ? html`<${Value}
            field=${f}
            value=${record[f.name]}
            title=${report.links[f.name]?.[record[f.name]]}
            appId=${appId}
          />`
          : text
      }
    </td>`;
  };
  return html`<div
    class="scrollx"
    tabindex="0"
    role="region"
    aria-label="First rows as they would be"
  >
    <table class="list">
      <thead><tr><th>Row</th>${fields.map((f) => html`<th key=${f.name}>${words(f.name)}</th>`)}</tr></thead>
      <tbody>
        ${sent.slice(0, SHOWN).map(
          (_, i) => html`<tr key=${i}>
            <td class="dim">${i + 1}</td>
            ${fields.map((f, at) => cell(f, i + 1, at))}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
