/** What the value of a field is typed or chosen with, and a form of several fields. */
import { focusNow, html } from '../core/kit.js';
import { nameField } from '../core/store.js';
import { Tile } from '../kit/tile.js';
import { isManaged, toText, writeLocal } from '../parts/values.js';
import { FileControl } from './files.js';
import { Picker } from './picker.js';
import { get } from '../core/api.js';
import { parse } from '../core/json.js';
import { Loaded, useLoad } from '../core/ui.js';

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
 * @param {{field: any, value: any, onChange: (value: any, title?: string) => void, appId: string,
 *   id: string, autofocus?: boolean, onCancel?: () => void, label?: string, isLine?: boolean}} props
 *   With `isLine` a text is edited in one line; of a link `onChange` gets the title, too.
 */
export function Control(props) {
  const plain = html`<${Plain} ...${props} />`;
  const { page } = props.field;
  if (!page) return plain;
  return html`<${Tile} page=${page} part="Editor" fallback=${plain} ...${props} />`;
}

function Plain({ field, value, onChange, appId, id, autofocus, onCancel, label, isLine }) {
  const common = { id, 'aria-label': label, ref: autofocus ? focusNow : null };
  const change = (event) => onChange(event.target.value);
  if (field.references)
    return html`<${Picker}
      id=${id}
      label=${label}
      appId=${appId}
      target=${field.references}
      value=${value || null}
      onChange=${(record, title) => onChange(record ?? '', title)}
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
  if (field.type === 'timestamp' && isKnownTime(value))
    return html`<${TimeInput} common=${common} value=${value} onChange=${onChange} />`;
  const typing = { ...common, value, onInput: change, placeholder: HINTS[field.type] ?? '' };
  return !isLine && isLong(field, value)
    ? html`<${Lines} field=${field} value=${value} typing=${typing} />`
    : html`<${Line} field=${field} typing=${typing} />`;
}

const isKnownTime = (value) => !value || !Number.isNaN(Date.parse(value));

/** A time in the zone and the form of the user's browser. What is not typed keeps its fraction. */
function TimeInput({ common, value, onChange }) {
  const local = value ? writeLocal(new Date(value)) : '';
  const shown = local.endsWith(':00.000') ? local.slice(0, 16) : local.replace(/\.000$/, '');
  const change = (event) => {
    const typed = event.target.value;
    onChange(typed && new Date(typed).toISOString());
  };
  return html`<input
    ...${common}
    type="datetime-local"
    step=${shown.length > 16 ? 'any' : undefined}
    max="9999-12-31T23:59"
    value=${shown}
    onInput=${change}
  />`;
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

// --- choices: those of a `select`, and a `select` that does something with what is chosen

/**
 * @param {{choices: (string|[value: string, title: string])[], chosen?: string}} props A choice
 *   that is one text has it as its value and as its title.
 */
export function Options({ choices, chosen }) {
  return choices.map((choice) => {
    const [value, title] = typeof choice === 'string' ? [choice, choice] : choice;
    return html`<option key=${value} value=${value} selected=${value === chosen}>${title}</option>`;
  });
}

/**
 * A `select` below its title; `change` gets the value that is chosen.
 * @param {{title: string, choices: (string|[value: string, title: string])[], chosen?: string,
 *   change: (value: string) => void}} props
 */
export const Choice = ({ title, choices, chosen, change }) => html`<label class="field">
  <span>${title}</span>
  <select onChange=${(event) => change(event.target.value)}>
    <${Options} choices=${choices} chosen=${chosen} />
  </select>
</label>`;

/**
 * A `select` that acts at once, and then shows its hint again.
 * @param {{label: string, hint: string, choices: (string|[value: string, title: string])[],
 *   act: (value: string) => void}} props
 */
export function ActingSelect({ label, hint, choices, act }) {
  const choose = (event) => {
    const { value } = event.target;
    event.target.value = '';
    if (value) act(value);
  };
  return html`<select aria-label=${label} onChange=${choose}>
    <option value="">${hint}</option>
    <${Options} choices=${choices} />
  </select>`;
}

// --- a form made from the fields of an entity, or from a JSON Schema

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

/** Types of JSON Schema as the controls call them. */
const TYPES = { string: 'text', integer: 'number', number: 'number', boolean: 'boolean' };
const NUMBER = /^-?\d+(\.\d+)?$/;

/** Fields of a JSON Schema as the controls understand them. */
export function readSchema(schema) {
  const root = schema?.$ref ? schema.$defs?.[schema.$ref.split('/').pop()] : schema;
  return Object.entries(root?.properties ?? {}).map(([name, member]) => {
    const shape = member.anyOf?.find((alternative) => alternative.type !== 'null') ?? member;
    const typeWithout = shape.enum ? 'text' : 'json';
    return {
      name,
      type: TYPES[shape.type] ?? typeWithout,
      enum_values: shape.enum,
      required: root.required?.includes(name),
      schema: shape.type,
    };
  });
}

/** What was typed in a form of a schema, as its JSON; empty fields are left out. */
export function readForm(fields, values) {
  const isTyped = (field) => values[field.name] !== undefined && values[field.name] !== '';
  const members = fields
    .filter(isTyped)
    .map((field) => [field.name, readMember(field, values[field.name])]);
  return Object.fromEntries(members);
}

/** A text that is no number is sent as it is: the server says what is wrong with it. */
function readMember(field, text) {
  if (field.type === 'json') return parse(text);
  if (field.type === 'boolean') return text === 'true';
  const isNumber = field.type === 'number' && NUMBER.test(text);
  return isNumber ? parse(text) : text;
}

// --- handlers of a worker: what they declare as fields, else JSON

const NONE = { calls: [], jobs: [] };

/** What the worker of an app declares, for `children`; nothing where it does not run. */
export function WithHandlers({ path, children }) {
  const handlers = useLoad(() => get(`${path}/worker/handlers`).catch(() => NONE), [path]);
  return html`<${Loaded} of=${handlers}>${children}<//>`;
}

/** A form before anything is typed; of the first of `handlers`. */
export const startCall = (handlers) => ({ name: handlers[0]?.name ?? '', values: {}, text: '{}' });

function findFields(handlers, name) {
  const schema = handlers.find((handler) => handler.name === name)?.params;
  return schema ? readSchema(schema) : null;
}

/** What was typed, as JSON. */
export function readCall(handlers, call) {
  const fields = findFields(handlers, call.name);
  return fields ? readForm(fields, call.values) : parse(call.text || '{}');
}

/**
 * @param {{handlers: any[], call: any, change: (call: any) => void, title: string,
 *   body?: string}} props
 */
export function CallFields({ handlers, call, change, title, body = 'Parameters' }) {
  const fields = findFields(handlers, call.name);
  const { text = '' } = handlers.find((handler) => handler.name === call.name) ?? {};
  const choices = handlers.map(({ name }) => [name, name || 'any other']);
  const choose = (event) => change({ ...call, name: event.target.value, values: {} });
  const type = (event) => change({ ...call, text: event.target.value });
  const fill = (name, value) => change({ ...call, values: { ...call.values, [name]: value } });
  return html`<label class="field">
      <span>${title}</span>
      ${
        handlers.length
          ? html`<select onChange=${choose}>
              <${Options} choices=${choices} chosen=${call.name} />
            </select>`
          : html`<input class="mono" required value=${call.name} onInput=${choose} />`
      }
      ${text && html`<small>${text}</small>`}
    </label>
    ${
      fields
        ? html`<${Fields}
            key=${call.name}
            fields=${fields}
            values=${call.values}
            onChange=${fill}
            appId=""
            prefix="call"
            focus=${false}
          />`
        : html`<label class="field">
            <span>${body}</span>
            <textarea class="mono" rows="4" value=${call.text} onInput=${type} />
          </label>`
    }`;
}
