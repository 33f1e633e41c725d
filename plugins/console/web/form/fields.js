/** A form made from the fields of an entity, or from a JSON Schema. */
import { html } from '../core/kit.js';
import { nameField } from '../core/store.js';
import { Control } from './control.js';
import { toText } from '../parts/values.js';

/**
 * Every field with its label. `problems` maps field names to sentences.
 * @param {{fields: any[], values: any, onChange: (name: string, value: any) => void,
 *   appId: string, problems?: object, prefix?: string, focus?: boolean}} props With `focus` the
 *   first field gets it; `prefix` makes the ids of this form differ from those of another one.
 */
export function Fields({
  fields,
  values,
  onChange,
  appId,
  problems = {},
  prefix = 'f',
  focus = true,
}) {
  return fields.map(
    (field, index) => html`<${Labelled}
      key=${field.name}
      id=${`${prefix}-${field.name}`}
      field=${field}
      appId=${appId}
      value=${values[field.name]}
      problem=${problems[field.name]}
      autofocus=${focus && index === 0}
      onChange=${(value) => onChange(field.name, value)}
    />`,
  );
}

function Labelled({ id, field, problem, value, ...control }) {
  return html`<div class="field">
    <label for=${id}>
      <span>${nameField(field)}</span>
      ${field.required && html` <span class="dim" title="required">*</span>`}
    </label>
    ${
      field.locked
        ? html`<output id=${id} class="locked">${value || '–'}</output>`
        : html`<${Control} id=${id} field=${field} value=${value ?? ''} ...${control} />`
    }
    ${problem && html`<div class="problem" role="alert">${problem}</div>`}
  </div>`;
}

/** The values of a row as its form has them: texts, by the names of the fields. */
export function toTexts(fields, row) {
  const texts = fields.map((field) => [field.name, toText(field, row[field.name])]);
  return Object.fromEntries(texts);
}

/** Which field an error of the server names, as in "deals.value: …" or "value: …". */
export function matchProblem(error, fields) {
  const name = /^(?:[a-z0-9_]+\.)?([a-z0-9_]+)\b/.exec(error.message)?.[1];
  const isField = fields.some((field) => field.name === name);
  return isField ? { [name]: error.message } : {};
}
