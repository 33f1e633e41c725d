/** What a column is: its name, type, and rules. The same form makes a new one and changes one. */
import { html } from '../../core/kit.js';
import { toWords } from '../../core/store.js';
import { IconButton, Input, icon } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { findEntityOf, listEntities, nameOf } from './steps.js';

const ON_DELETE = [
  ['set_null', 'is emptied'],
  ['restrict', 'prevents that'],
  ['cascade', 'is deleted with it'],
];
const FIRST_CHOICES = [
  { value: '', colour: 'grey' },
  { value: '', colour: 'grey' },
];

/** What is typed for a column that does not exist yet. */
export const newColumn = {
  title: '',
  kind: 'text',
  required: false,
  unique: false,
  byDefault: '',
  choices: FIRST_CHOICES,
  target: '',
  onDelete: 'set_null',
  way: '$concat',
  formula: '',
  sources: [],
};

/**
 * The members of a field of a manifest, from what is typed; null while something is missing.
 * @param {any} column @param {any[]} fields of its table
 */
export function toField(column, fields) {
  const { kind, required, choices, target, onDelete } = column;
  const field = { ...membersOf(kind) };
  if (required && kind !== 'generated') field.required = true;
  if (kind === 'choice') {
    const named = choices.filter(({ value }) => value.trim());
    if (!named.length) return null;
    field.enum_values = named.map(({ value }) => value.trim());
    const coloured = named.filter(({ colour }) => colour !== 'grey');
    if (coloured.length)
      field.colours = Object.fromEntries(coloured.map((one) => [one.value.trim(), one.colour]));
  }
  if (kind === 'link') {
    if (!target) return null;
    field.references = { entity: target };
    if (onDelete !== 'set_null' || required)
      field.on_delete = required && onDelete === 'set_null' ? 'restrict' : onDelete;
  }
  if (kind === 'generated') {
    const members = toGenerated(column, fields);
    if (!members) return null;
    Object.assign(field, members);
  }
  const value = readDefault(column);
  if (value !== undefined) field.default_value = value;
  return field;
}

/** Ways to make a value from other columns: what they are called, and which columns they take. */
const WAYS = [
  ['$concat', 'Text made of columns'],
  ['$sum', 'Sum of numbers'],
  ['$coalesce', 'First column that is filled'],
  ['$lower', 'Text in small letters'],
];
const TEXTS = ['text', 'string'];
const SIMPLE = [...TEXTS, 'number', 'boolean', 'date', 'timestamp', 'datetime', 'uuid'];
/** @type {Record<string, (field: any, sources: any[]) => boolean>} */
const FITS = {
  $sum: ({ type }) => type === 'number',
  $lower: ({ type }) => TEXTS.includes(type),
  // All are of the type of the first one.
  $coalesce: ({ type }, [first]) => SIMPLE.includes(type) && (!first || first.type === type),
};

/** Type and expression of a generated field; null while something is missing. */
function toGenerated({ way, formula, sources }, fields) {
  if (way === '$concat') {
    const parts = readFormula(formula);
    return parts.length ? { type: 'text', generated: { $concat: parts } } : null;
  }
  const [name] = sources;
  if (!name) return null;
  if (way === '$lower') return { type: 'text', generated: { $lower: name } };
  const { type = 'text' } = fields.find((field) => field.name === name) ?? {};
  return { type, generated: { [way]: sources } };
}

/** What the form shows of an expression; null for one that it cannot show. */
export function fromGenerated(generated) {
  const [[way, operands]] = Object.entries(generated ?? { $concat: [] });
  const items = [operands].flat();
  if (!items.every((item) => typeof item === 'string')) return null;
  const formula = items.map((item) => (NAME.test(item) ? `{${item}}` : item)).join('');
  if (way === '$concat') return { way, formula };
  return items.every((item) => NAME.test(item)) ? { way, sources: items } : null;
}
const NAME = /^[a-z][a-z0-9_]*$/;

/** `{first_name} {last_name}` as operands of $concat. */
function readFormula(formula) {
  return formula.split(/\{([a-z0-9_]+)\}/).filter((part) => part !== '');
}

function readDefault({ kind, byDefault }) {
  if (byDefault === '' || ['file', 'files', 'link', 'generated', 'list', 'json'].includes(kind))
    return undefined;
  if (kind === 'boolean') return byDefault === 'true';
  if (['number', 'currency', 'percent'].includes(kind)) {
    const number = Number(byDefault);
    return Number.isNaN(number) ? byDefault : number;
  }
  return byDefault;
}

/**
 * @param {{manifest: any, entity: string, column: any, change: (column: any) => void,
 *   isNew: boolean}} props
 */
export function FieldForm({ manifest, entity, column, change, isNew }) {
  const set = (members) => change({ ...column, ...members });
  const { kind } = column;
  const hasDefault = !['file', 'files', 'link', 'generated', 'list', 'json'].includes(kind);
  const mayBeUnique = !['file', 'files', 'json', 'long', 'list'].includes(kind);
  return html`<div class="columnform">
    ${
      isNew &&
      html`<${Input}
        title="Name"
        autofocus
        required
        maxlength="60"
        value=${column.title}
        onInput=${(event) => set({ title: event.target.value })}
      />`
    }
    <label class="field">
      <span>Type</span>
      <select aria-label="Type" onChange=${(event) => set({ kind: event.target.value })}>
        <${Options} choices=${KIND_CHOICES} chosen=${kind} />
      </select>
    </label>
    ${kind === 'choice' && html`<${Choices} choices=${column.choices} change=${(choices) => set({ choices })} />`}
    ${kind === 'link' && html`<${Link} manifest=${manifest} entity=${entity} column=${column} set=${set} />`}
    ${
      kind === 'generated' &&
      html`<${Generated}
        fields=${findEntityOf(manifest, entity)?.fields ?? []}
        column=${column}
        set=${set}
      />`
    }
    ${hasDefault && html`<${Default} column=${column} set=${set} />`}
    ${
      kind !== 'generated' &&
      html`<${Check}
        title="Required"
        checked=${column.required}
        change=${(required) => set({ required })}
      />`
    }
    ${
      mayBeUnique &&
      html`<${Check}
        title="Unique: no two records have the same value"
        checked=${column.unique}
        change=${(unique) => set({ unique })}
      />`
    }
  </div>`;
}

/** From what a column is made, and how. */
function Generated({ fields, column, set }) {
  const { way, sources } = column;
  if (!way) return html`<p class="notice">Its expression is edited in the manifest.</p>`;
  const chosen = sources.map((name) => fields.find((field) => field.name === name));
  const fitting = fields.filter((field) => !field.generated && FITS[way]?.(field, chosen));
  const toggle = (name) => {
    const others = sources.filter((other) => other !== name);
    const isOne = way === '$lower';
    const added = isOne ? [name] : [...sources, name];
    set({ sources: others.length < sources.length ? others : added });
  };
  return html`<label class="field">
      <span>Made as</span>
      <select
        aria-label="Made as"
        onChange=${(event) => set({ way: event.target.value, sources: [] })}
      >
        <${Options} choices=${WAYS} chosen=${way} />
      </select>
    </label>
    ${
      way === '$concat'
        ? html`<${Input}
            title="Made of"
            placeholder="{first_name} {last_name}"
            value=${column.formula}
            onInput=${(event) => set({ formula: event.target.value })}
          >
            <small class="dim">Names of text columns in braces, and any text between them.</small>
          <//>`
        : html`<fieldset class="choices columnlist">
            <legend>Made of</legend>
            ${fitting.map(
              (field) => html`<label class="row check" key=${field.name}>
                <input
                  type="checkbox"
                  checked=${sources.includes(field.name)}
                  onChange=${() => toggle(field.name)}
                />
                ${field.label ?? toWords(field.name)}
              </label>`,
            )}
            ${!fitting.length && html`<p class="dim">The table has no column for this.</p>`}
          </fieldset>`
    }`;
}

const Check = ({ title, checked, change }) => html`<label class="row check">
  <input type="checkbox" checked=${checked} onChange=${(event) => change(event.target.checked)} />
  ${title}
</label>`;

function Default({ column, set }) {
  const change = (event) => set({ byDefault: event.target.value });
  const { kind, byDefault } = column;
  if (kind === 'boolean' || kind === 'choice') {
    const named = column.choices.map(({ value }) => value.trim()).filter(Boolean);
    const answers = [
      ['true', 'yes'],
      ['false', 'no'],
    ];
    const choices = [['', '–'], ...(kind === 'boolean' ? answers : named)];
    return html`<label class="field">
      <span>Default</span>
      <select aria-label="Default" onChange=${change}>
        <${Options} choices=${choices} chosen=${byDefault} />
      </select>
    </label>`;
  }
  return html`<${Input}
    title="Default"
    type=${kind === 'date' ? 'date' : 'text'}
    value=${byDefault}
    onInput=${change}
  />`;
}

/** The values of a choice, each with a colour. */
function Choices({ choices, change }) {
  const set = (index, members) =>
    change(choices.map((one, at) => (at === index ? { ...one, ...members } : one)));
  const add = () => change([...choices, { value: '', colour: 'grey' }]);
  return html`<fieldset class="choices">
    <legend>Choices</legend>
    ${choices.map(
      (one, index) => html`<div class="row" key=${index}>
        <input
          class="grow"
          aria-label=${`Choice ${index + 1}`}
          value=${one.value}
          onInput=${(event) => set(index, { value: event.target.value })}
        />
        <select
          class=${`tint ${one.colour}`}
          aria-label=${`Colour of choice ${index + 1}`}
          onChange=${(event) => set(index, { colour: event.target.value })}
        >
          <${Options} choices=${COLOURS} chosen=${one.colour} />
        </select>
        <${IconButton}
          isSmall
          glyph="x"
          label=${`Remove choice ${index + 1}`}
          onClick=${() => change(choices.filter((_, at) => at !== index))}
        />
      </div>`,
    )}
    <button type="button" class="small" onClick=${add}>${icon('plus')}Choice</button>
  </fieldset>`;
}

/** Where a link leads, and what becomes of it when the record there is deleted. */
function Link({ manifest, entity, column, set }) {
  const targets = listEntities(manifest)
    .map(nameOf)
    .map((name) => [name, name === entity ? `${toWords(name)} (this table)` : toWords(name)]);
  const choices = [['', 'Choose a table'], ...targets, ['core:users', 'Users of the server']];
  const ways = column.required ? ON_DELETE.slice(1) : ON_DELETE;
  return html`<label class="field">
      <span>Table</span>
      <select aria-label="Table" onChange=${(event) => set({ target: event.target.value })}>
        <${Options} choices=${choices} chosen=${column.target} />
      </select>
    </label>
    <label class="field">
      <span>When the record there is deleted, this one</span>
      <select aria-label="On delete" onChange=${(event) => set({ onDelete: event.target.value })}>
        <${Options} choices=${ways} chosen=${column.onDelete} />
      </select>
    </label>`;
}

// --- types of columns in plain words, and what each is in a manifest

/** @type {[kind: string, title: string, of: any][]} */
const KINDS = [
  ['text', 'Text', { type: 'text' }],
  ['long', 'Long text', { type: 'text', format: 'long' }],
  ['number', 'Number', { type: 'number' }],
  ['currency', 'Money', { type: 'number', format: 'currency' }],
  ['percent', 'Percent', { type: 'number', format: 'percent' }],
  ['boolean', 'Yes/No', { type: 'boolean' }],
  ['date', 'Date', { type: 'date' }],
  ['timestamp', 'Date and time', { type: 'timestamp' }],
  ['choice', 'Choice', { type: 'text' }],
  ['link', 'Link to a record', { type: 'entity_link' }],
  ['file', 'File', { type: 'file', maxSize: '20MB' }],
  ['files', 'Several files', { type: '[file]', maxSize: '20MB' }],
  ['email', 'E-mail', { type: 'text', format: 'email' }],
  ['url', 'Web address', { type: 'text', format: 'url' }],
  ['list', 'List of texts', { type: '[text]' }],
  ['json', 'JSON', { type: 'json' }],
  ['generated', 'Generated from others', { type: 'text' }],
];

export const KIND_CHOICES = KINDS.map(([kind, title]) => [kind, title]);
/** Kinds that a new table offers for its first columns: those that need nothing else. */
export const PLAIN_KINDS = KIND_CHOICES.filter(
  ([kind]) => !['choice', 'link', 'generated', 'file', 'files'].includes(kind),
);

export const titleOfKind = (kind) => KINDS.find(([name]) => name === kind)[1];
export const membersOf = (kind) => KINDS.find(([name]) => name === kind)[2];

/** The kind of a field of a manifest. */
export function kindOf(field) {
  const values = field.enum_values ?? field.enumValues;
  if (field.generated) return 'generated';
  if (values?.length) return 'choice';
  if (field.format) return field.format;
  const aliases = { string: 'text', bool: 'boolean', datetime: 'timestamp', entity_link: 'link' };
  const ofLists = { '[text]': 'list', '[file]': 'files' };
  const kind = aliases[field.type] ?? ofLists[field.type] ?? field.type;
  return KINDS.some(([name]) => name === kind) ? kind : 'json';
}

export const COLOURS = [
  'grey',
  'red',
  'orange',
  'yellow',
  'green',
  'teal',
  'blue',
  'purple',
  'pink',
];

// --- names: what people type as a title becomes the name of a table or a column

const LONGEST = 63;

/** "Close date" -> "close_date"; empty where a text has no letter. */
export function toName(title) {
  const plain = title.normalize('NFKD').replace(/[\u0300-\u036f]/g, '');
  return plain
    .toLowerCase()
    .replace(/ß/g, 'ss')
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^[_0-9]+|_+$/g, '')
    .slice(0, LONGEST);
}

/** The title as a label, where the name alone would not show it as it was typed. */
export function toLabel(title, shown) {
  const text = title.trim();
  return text && text !== shown ? text : undefined;
}
