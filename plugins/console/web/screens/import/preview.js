/** The first rows of an import as they would be stored; those with errors as they were sent. */
import { html } from '../../core/kit.js';
import { toWords } from '../../core/store.js';
import { Value } from '../../parts/values.js';

/** Rows that are shown. */
export const SHOWN = 20;

/** @param {{appId: string, entity: any, targets: any[], csv: string[][], report: any}} props */
export function Preview({ appId, entity, targets, csv: [heads, ...sentRows], report }) {
  const preview = report?.preview ?? [];
  const stored = Object.fromEntries(preview.map(({ row, record }) => [row, record]));
  const sent = heads.map((name) => targets.find((target) => target.name === name).field);
  const fields = [...sent, ...listFilledFields(entity, sent, Object.values(stored))];
  const rows = sentRows.slice(0, SHOWN).map((cells, index) => ({ number: index + 1, cells }));
  return html`<div
    class="scrollx"
    tabindex="0"
    role="region"
    aria-label="First rows as they would be"
  >
    <table class="list">
      <thead>
        <tr>
          <th>Row</th>
          ${fields.map((field) => html`<th key=${field.name}>${toWords(field.name)}</th>`)}
        </tr>
      </thead>
      <tbody>
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
      </tbody>
    </table>
  </div>`;
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
