/** The control of one field: what a value is typed or chosen with. */
import { focusNow, html } from '../core/kit.js';
import { Tile } from '../kit/tile.js';
import { isManaged } from '../parts/files.js';
import { FileControl } from './files.js';
import { Options } from './options.js';
import { Picker } from './picker.js';

const HINTS = {
  number: 'a number',
  timestamp: '2026-01-31T10:00:00Z',
  '[text]': 'one a line',
  '[number]': '[1, 2]',
  json: 'JSON',
  uuid: 'a UUID',
};
const BLANK = ['', '–'];
const ANSWERS = [BLANK, ['true', 'yes'], ['false', 'no']];
const OF_LINES = ['json', '[text]', '[number]'];
const LONG_NAME = /note|description|body|comment|snippet/;
/** Letters that a line holds. */
const LINE = 90;
const FEWEST_ROWS = 3;
const MOST_ROWS = 14;

/**
 * `value` is what is typed (text), a boolean, or an id.
 * @param {{field: any, value: any, onChange: (value: any) => void, appId: string, id: string,
 *   autofocus?: boolean, onCancel?: () => void, label?: string}} props
 */
export function Control(props) {
  const plain = html`<${Plain} ...${props} />`;
  const { page } = props.field;
  if (!page) return plain;
  return html`<${Tile} page=${page} part="Editor" fallback=${plain} ...${props} />`;
}

function Plain({ field, value, onChange, appId, id, autofocus, onCancel, label }) {
  const common = { id, 'aria-label': label, ref: autofocus ? focusNow : null };
  const change = (event) => onChange(event.target.value);
  if (field.references)
    return html`<${Picker}
      id=${id}
      label=${label}
      appId=${appId}
      target=${field.references}
      value=${value || null}
      onChange=${(record) => onChange(record ?? '')}
      autofocus=${autofocus}
      onCancel=${onCancel}
    />`;
  if (isManaged(field))
    return html`<${FileControl}
      id=${id}
      label=${label}
      field=${field}
      appId=${appId}
      value=${value}
      onChange=${onChange}
    />`;
  if (field.enum_values?.length) {
    const mayBeBlank = !field.required || !value;
    const choices = mayBeBlank ? [BLANK, ...field.enum_values] : field.enum_values;
    return html`<select ...${common} value=${value ?? ''} onChange=${change}>
      <${Options} choices=${choices} chosen=${value || ''} />
    </select>`;
  }
  if (field.type === 'boolean')
    return html`<select ...${common} onChange=${change}>
      <${Options} choices=${ANSWERS} chosen=${String(value ?? '')} />
    </select>`;
  if (field.type === 'date')
    return html`<input
      ...${common}
      type="date"
      max="9999-12-31"
      value=${value}
      onInput=${change}
    />`;
  const typing = { ...common, value, onInput: change, placeholder: HINTS[field.type] ?? '' };
  return isLong(field, value)
    ? html`<${Lines} field=${field} value=${value} typing=${typing} />`
    : html`<${Line} field=${field} typing=${typing} />`;
}

function isLong(field, value) {
  const text = String(value ?? '');
  if (field.format === 'long') return true;
  const holdsLines = OF_LINES.includes(field.type) || LONG_NAME.test(field.name);
  return holdsLines || text.length > LINE || text.includes('\n');
}

function Lines({ field, value, typing }) {
  const count = String(value ?? '').split('\n').length;
  const rows = Math.min(MOST_ROWS, Math.max(FEWEST_ROWS, count));
  const look = field.type === 'json' ? 'mono' : '';
  return html`<textarea ...${typing} rows=${rows} class=${look} />`;
}

function Line({ field, typing }) {
  const isNumber = field.type === 'number';
  return html`<input
    ...${typing}
    inputmode=${isNumber ? 'decimal' : undefined}
    class=${isNumber ? 'mono' : ''}
    autocomplete="off"
  />`;
}
