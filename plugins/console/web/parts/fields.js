/** A form made from the fields of an entity, or from a JSON Schema. */
import { focusNow, html } from '../core/kit.js';
import { parse } from '../core/json.js';
import { words } from '../core/store.js';
import { Tile } from '../kit/tile.js';
import { Picker } from './picker.js';
import { toText } from './values.js';

const HINTS = {
  number: 'a number',
  timestamp: '2026-01-31T10:00:00Z',
  '[text]': 'one a line',
  '[number]': '[1, 2]',
  json: 'JSON',
  uuid: 'a UUID',
};

/**
 * The control of one field. `value` is what is typed (text), a boolean, or an id.
 * @param {{field: any, value: any, onChange: (v: any) => void, appId: string, id: string,
 *   autofocus?: boolean, onCancel?: () => void, label?: string}} props
 */
export function Control(props) {
  const plain = html`<${Plain} ...${props} />`;
  const { page } = props.field;
  if (!page) return plain;
  return html`<${Tile} page=${page} part="Editor" fallback=${plain} ...${props} />`;
}

function Plain({ field, value, onChange, appId, id, autofocus, onCancel, label }) {
  const text = (e) => onChange(e.target.value);
  if (field.references)
    return html`<${Picker}
      id=${id}
      label=${label}
      appId=${appId}
      target=${field.references}
      value=${value || null}
      onChange=${(v) => onChange(v ?? '')}
      autofocus=${autofocus}
      onCancel=${onCancel}
    />`;
  if (field.enum_values?.length) {
    return html`<select
      id=${id}
      aria-label=${label}
      ref=${autofocus ? focusNow : null}
      value=${value ?? ''}
      onChange=${text}
    >
      ${(!field.required || !value) && html`<option value="" selected=${!value}>–</option>`}
      ${field.enum_values.map(
        (v) => html`<option key=${v} value=${v} selected=${v === value}>${v}</option>`,
      )}
    </select>`;
  }
  if (field.type === 'boolean') {
    return html`<select
      id=${id}
      aria-label=${label}
      ref=${autofocus ? focusNow : null}
      onChange=${text}
    >
      ${[
        ['', '–'],
        ['true', 'yes'],
        ['false', 'no'],
      ].map(
        ([v, said]) =>
          html`<option key=${v} value=${v} selected=${String(value ?? '') === v}>${said}</option>`,
      )}
    </select>`;
  }
  if (field.type === 'date')
    return html`<input
      id=${id}
      aria-label=${label}
      type="date"
      max="9999-12-31"
      ref=${autofocus ? focusNow : null}
      value=${value}
      onInput=${text}
    />`;
  const long =
    ['json', '[text]', '[number]'].includes(field.type) ||
    /note|description|body|comment|snippet/.test(field.name) ||
    String(value ?? '').length > 90 ||
    String(value ?? '').includes('\n');
  if (long) {
    const rows = Math.min(14, Math.max(3, String(value ?? '').split('\n').length));
    return html`<textarea
      id=${id}
      aria-label=${label}
      ref=${autofocus ? focusNow : null}
      rows=${rows}
      class=${field.type === 'json' ? 'mono' : ''}
      placeholder=${HINTS[field.type] ?? ''}
      value=${value}
      onInput=${text}
    />`;
  }
  return html`<input
    id=${id}
    aria-label=${label}
    ref=${autofocus ? focusNow : null}
    inputmode=${field.type === 'number' ? 'decimal' : undefined}
    autocomplete="off"
    placeholder=${HINTS[field.type] ?? ''}
    class=${field.type === 'number' ? 'mono' : ''}
    value=${value}
    onInput=${text}
  />`;
}

/** Every field with its label. `problems` maps field names to sentences. */
export function Fields({
  fields,
  values,
  onChange,
  appId,
  problems = {},
  prefix = 'f',
  focus = true,
}) {
  return fields.map((field, i) => {
    const id = `${prefix}-${field.name}`;
    return html`<div class="field" key=${field.name}>
      <label for=${id}>
        <span>${words(field.name)}</span>
        ${field.required && html` <span class="dim" title="required">*</span>`}
      </label>
      ${
        field.locked
          ? html`<output id=${id} class="locked">${values[field.name] || '–'}</output>`
          : html`<${Control}
              id=${id}
              field=${field}
              appId=${appId}
              value=${values[field.name] ?? ''}
              autofocus=${focus && i === 0}
              onChange=${(v) => onChange(field.name, v)}
            />`
      }
      ${
        problems[field.name] &&
        html`<div class="problem" role="alert">${problems[field.name]}</div>`
      }
    </div>`;
  });
}

export const textsOf = (fields, row) =>
  Object.fromEntries(fields.map((f) => [f.name, toText(f, row[f.name])]));

/** Which field an error of the server names, as in "deals.value: …" or "value: …". */
export function problemOf(error, fields) {
  const name = /^(?:[a-z0-9_]+\.)?([a-z0-9_]+)\b/.exec(error.message)?.[1];
  return fields.some((f) => f.name === name) ? { [name]: error.message } : {};
}

/** Fields of a JSON Schema as the controls above understand them. */
export function schemaFields(schema) {
  const root = schema?.$ref ? schema.$defs?.[schema.$ref.split('/').pop()] : schema;
  return Object.entries(root?.properties ?? {}).map(([name, given]) => {
    const shape = given.anyOf?.find((each) => each.type !== 'null') ?? given;
    const plain = { string: 'text', integer: 'number', number: 'number', boolean: 'boolean' }[
      shape.type
    ];
    return {
      name,
      type: plain ?? (shape.enum ? 'text' : 'json'),
      enum_values: shape.enum,
      required: root.required?.includes(name),
      schema: shape.type,
    };
  });
}

const NUMBER = /^-?\d+(\.\d+)?$/;

/** What was typed in a form of a schema, as its JSON; empty fields are left out. */
export function schemaBody(fields, values) {
  const body = {};
  for (const f of fields) {
    const text = values[f.name];
    if (text === undefined || text === '') continue;
    if (f.type === 'json') body[f.name] = parse(text);
    else if (f.type === 'boolean') body[f.name] = text === 'true';
    else body[f.name] = f.type === 'number' && NUMBER.test(text) ? parse(text) : text;
  }
  return body;
}
