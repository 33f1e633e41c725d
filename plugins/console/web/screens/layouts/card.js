/** What a card shows of a record below its title. */
import { html } from '../../core/kit.js';
import { nameField } from '../../core/store.js';
import { findTitleFields } from '../../parts/titles.js';
import { Value } from '../../parts/values.js';

/** Fields of a card. */
const MOST_LINES = 3;

/** @param {{appId: string, entity: any, row: any, fields: any[], titles: any}} props */
export function CardLines({ appId, entity, row, fields, titles }) {
  const ofTitle = findTitleFields(entity);
  const isShown = ({ name, system }) =>
    !system && !ofTitle.includes(name) && row[name] !== null && row[name] !== undefined;
  return html`<dl class="cardlines">
    ${fields
      .filter(isShown)
      .slice(0, MOST_LINES)
      .map((field) => {
        const value = row[field.name];
        return html`<div key=${field.name}>
          <dt>${nameField(field)}</dt>
          <dd class="cut">
            <${Value} field=${field} value=${value} title=${titles[value]} appId=${appId} />
          </dd>
        </div>`;
      })}
  </dl>`;
}
