/** How a value of a field is shown and typed. A number stays the digits that the server sent. */
import { html } from '../core/kit.js';
import { parse as parseExact, stringify } from '../core/json.js';
import { A } from '../core/router.js';
import { Tile } from '../kit/tile.js';
import { icon, when } from '../core/ui.js';

export const SYSTEM = [
  { name: 'created_at', type: 'timestamp', system: true },
  { name: 'updated_at', type: 'timestamp', system: true },
];
export const ID = { name: 'id', type: 'uuid', system: true };

/** Every field of an entity that a table can show. */
export const allFields = (entity) => [...entity.fields, { ...ID, type: entity.id_type }, ...SYSTEM];

/** A value as text for a field to type in. */
export function toText(field, value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'object' && !('text' in value && field.type === 'number')) {
    return Array.isArray(value) && field.type === '[text]' ? value.join('\n') : stringify(value, 2);
  }
  return String(value);
}

/** What was typed as the value to send. Numbers and dates stay text: the server reads exactly. */
export function fromText(field, text) {
  if (text === '' && field.type !== 'text') return null;
  if (field.type === '[text]') return text.split('\n').filter(Boolean);
  if (field.type === '[number]' || field.type === 'json') {
    try {
      return parseExact(text);
    } catch (error) {
      throw new Error(`${field.name}: this is not JSON: ${error.message}`);
    }
  }
  return text;
}

export const same = (a, b) => stringify(a ?? null) === stringify(b ?? null);
const blank = html`<span class="dim">–</span>`;

/** One line, for a cell. `title` is the title of the linked record. */
export function Value({ field, value, title, appId }) {
  if (field.page) return html`<${Tile} page=${field.page} field=${field} value=${value} />`;
  if (value === null || value === undefined || value === '') return blank;
  if (field.references) {
    if (field.references === 'core:users') return html`<span class="cut">${title ?? ''}</span>`;
    return html`<${A}
      class="cut"
      to=${['record', appId, field.references, value]}
      onClick=${(e) => e.stopPropagation()}
    >
      ${title ?? String(value).slice(0, 8)}
    <//>`;
  }
  switch (field.type) {
    case 'boolean':
      return value
        ? html`<span class="yes" role="img" aria-label="yes">${icon('check')}</span>`
        : html`<span class="dim">no</span>`;
    case 'number':
      return html`<span class="mono">${String(value)}</span>`;
    case 'timestamp':
      return html`<time datetime=${value} title=${value}>${when(value)}</time>`;
    case 'uuid':
      return html`<code class="dim" title=${value}>${String(value).slice(0, 8)}</code>`;
    case '[text]':
      return value.map((v) => html`<span class="tag">${v}</span>`);
    case 'json':
    case '[number]':
      return html`<code class="cut">${stringify(value).slice(0, 200)}</code>`;
    default:
      if (field.enum_values?.length) return html`<span class="tag">${value}</span>`;
      return html`<span class="cut">${String(value).slice(0, 300)}</span>`;
  }
}

/** Width of a column in pixels. */
export function widthOf(field) {
  if (field.references) return 190;
  const name = field.name;
  if (/note|description|body|comment|address/.test(name)) return 260;
  if (/(^|_)(name|title|subject)$/.test(name) && field.type === 'text') return 240;
  return (
    { number: 110, boolean: 84, date: 116, timestamp: 170, uuid: 96, json: 220, '[text]': 200 }[
      field.type
    ] ?? (field.enum_values?.length ? 140 : 190)
  );
}

export const KINDS = {
  text: 'text',
  date: 'date',
  timestamp: 'text',
  number: 'text',
  uuid: 'text',
  file: 'text',
};
