/** The filter builder: conditions and groups, and the tree that they make. */
import { html, useState } from '../../core/kit.js';
import { Digits, parse, stringify } from '../../core/json.js';
import { toWords } from '../../core/store.js';
import { ErrorBox, IconButton, icon } from '../../core/ui.js';
import { Control, Options } from '../../form/control.js';
import { isManaged, listFields } from '../../parts/values.js';
import { buildOrder, findGroup } from './order.js';

/** Operators whose value is typed as text, whatever the field. */
const OF_TEXT = ['in', 'has', 'contains', 'begins'];
const MATCHES = [
  ['all', 'All of these'],
  ['any', 'Any of these'],
];
const NOT_SHOWABLE = 'The form cannot show this filter; it can be applied as it is.';

/**
 * @param {{appId: string, entity: any, where: any, onChange: (where: any) => void,
 *   close: () => void}} props
 */
export function Filter({ appId, entity, where, onChange, close }) {
  const fields = listFields(entity);
  const [model, setModel] = useState(() => addFirstCondition(fromWhere(where), fields));
  /** The tree as text, where it is edited as JSON; null in the form. */
  const [text, setText] = useState(() => (model ? null : stringify(where, 2)));
  const [error, setError] = useState(null);
  const isForm = text === null;
  const readTree = () => (text.trim() ? parse(text) : undefined);
  const attempt = (work) => {
    try {
      work();
    } catch (problem) {
      setError(problem);
    }
  };
  const finish = (tree) => {
    onChange(tree);
    close();
  };
  const apply = (event) => {
    event.preventDefault();
    attempt(() => finish(isForm ? toWhere(model) : readTree()));
  };
  const showJson = () => setText(stringify(toWhere(model) ?? {}, 2));
  const showForm = () =>
    attempt(() => {
      const readModel = fromWhere(readTree());
      if (!readModel) throw new Error(NOT_SHOWABLE);
      setModel(addFirstCondition(readModel, fields));
      setText(null);
      setError(null);
    });
  return html`<form onSubmit=${apply}>
    <h2>Filter ${toWords(entity.name).toLowerCase()}</h2>
    ${
      isForm
        ? html`<${Group} group=${model} fields=${fields} appId=${appId} onChange=${setModel} />`
        : html`<${Tree} text=${text} setText=${setText} />`
    }
    <${ErrorBox} error=${error} />
    ${
      isForm &&
      html`<details>
        <summary class="dim">The tree that is sent</summary>
        <pre>${stringify(toWhere(model) ?? {}, 2)}</pre>
      </details>`
    }
    <div class="actions">
      <button type="button" class="quiet" onClick=${isForm ? showJson : showForm}>
        ${icon('code')}
        ${isForm ? 'Edit as JSON' : 'Edit as form'}
      </button>
      <span class="grow" />
      <button type="button" onClick=${() => finish(undefined)}>Clear</button>
      <button class="primary">Apply</button>
    </div>
  </form>`;
}

const Tree = ({ text, setText }) => html`<label class="field">
  <span>The tree <code>where</code></span>
  <textarea
    class="mono"
    rows="12"
    spellcheck=${false}
    value=${text}
    onInput=${(event) => setText(event.target.value)}
  />
</label>`;

const makeCondition = (fields) => ({
  field: fields[0].name,
  op: listOperators(fields[0])[0],
  value: '',
});

/** An empty form begins with one condition. */
function addFirstCondition(model, fields) {
  const isEmpty = model && !model.items.length;
  return isEmpty ? { ...model, items: [makeCondition(fields)] } : model;
}

function Group({ group, fields, appId, onChange, remove = null }) {
  const { items } = group;
  const setItems = (changed) => onChange({ ...group, items: changed });
  const replace = (index, item) => setItems(items.with(index, item));
  const drop = (index) => setItems(items.toSpliced(index, 1));
  const addCondition = () => setItems([...items, makeCondition(fields)]);
  const addGroup = () => setItems([...items, { any: !group.any, items: [makeCondition(fields)] }]);
  const chooseMatch = (event) => onChange({ ...group, any: event.target.value === 'any' });
  return html`<fieldset class="group">
    <legend class="row">
      <select aria-label="Match" onChange=${chooseMatch}>
        <${Options} choices=${MATCHES} chosen=${group.any ? 'any' : 'all'} />
      </select>
      ${remove && html`<${RemoveButton} label="Remove the group" remove=${remove} />`}
    </legend>
    ${items.map((item, index) => {
      const Item = item.items ? Group : Condition;
      return html`<${Item}
        key=${index}
        group=${item}
        item=${item}
        fields=${fields}
        appId=${appId}
        onChange=${(changed) => replace(index, changed)}
        remove=${() => drop(index)}
      />`;
    })}
    <div class="row">
      <button type="button" class="small" onClick=${addCondition}>${icon('plus')}Condition</button>
      <button type="button" class="small quiet" onClick=${addGroup}>${icon('plus')}Group</button>
    </div>
  </fieldset>`;
}

function Condition({ item, fields, appId, onChange, remove }) {
  const field = fields.find((candidate) => candidate.name === item.field) ?? fields[0];
  const chooseField = (event) => {
    const chosen = fields.find((candidate) => candidate.name === event.target.value);
    onChange({ field: chosen.name, op: listOperators(chosen)[0], value: '' });
  };
  const chooseOperator = (event) => onChange({ ...item, op: event.target.value });
  const fieldChoices = fields.map(({ name }) => [name, toWords(name)]);
  const operatorChoices = listOperators(field).map((name) => [name, OPERATORS[name].title]);
  return html`<div class="condition">
    <select aria-label="Field" onChange=${chooseField}>
      <${Options} choices=${fieldChoices} chosen=${field.name} />
    </select>
    <select aria-label="Operator" onChange=${chooseOperator}>
      <${Options} choices=${operatorChoices} chosen=${item.op} />
    </select>
    <${ConditionValue} field=${field} item=${item} appId=${appId} onChange=${onChange} />
    <${RemoveButton} label="Remove the condition" remove=${remove} />
  </div>`;
}

function ConditionValue({ field, item, appId, onChange }) {
  if (!needsValue(item.op)) return html`<span class="grow" />`;
  const isText = OF_TEXT.includes(item.op);
  const typed = isText
    ? { name: 'value', type: 'text' }
    : { ...field, required: false, name: 'value' };
  return html`<span class="grow value">
    <${Control}
      key=${field.name + item.op}
      id="value"
      label="Value"
      field=${typed}
      value=${item.value}
      appId=${appId}
      onChange=${(value) => onChange({ ...item, value })}
    />
  </span>`;
}

const RemoveButton = ({ label, remove }) =>
  html`<${IconButton} isSmall glyph="x" label=${label} onClick=${remove} />`;

// --- the where-tree of the API and what the builder shows are two spellings of the same

/** Fields of texts that the box above a table looks into. */
const MOST_FIELDS = 12;

const escapeLike = (text) => text.replace(/[%_\\]/g, '\\$&');
const unescapeLike = (text) => text.replace(/\\([%_\\])/g, '$1');

function splitList(value) {
  if (Array.isArray(value)) return value;
  return String(value)
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean);
}

/** Operators of the builder: how they are called, and how they are written. */
export const OPERATORS = {
  contains: { title: 'contains', write: (text) => ({ $ilike: `%${escapeLike(text)}%` }) },
  begins: { title: 'begins with', write: (text) => ({ $ilike: `${escapeLike(text)}%` }) },
  eq: { title: 'is', write: (value) => ({ $eq: value }) },
  ne: { title: 'is not', write: (value) => ({ $ne: value }) },
  in: { title: 'is one of', write: (value) => ({ $in: splitList(value) }) },
  gt: { title: '>', write: (value) => ({ $gt: value }) },
  gte: { title: '≥', write: (value) => ({ $gte: value }) },
  lt: { title: '<', write: (value) => ({ $lt: value }) },
  lte: { title: '≤', write: (value) => ({ $lte: value }) },
  has: { title: 'contains all of', write: (value) => ({ $contains: splitList(value) }) },
  empty: { title: 'is empty', write: () => ({ $isNull: true }) },
  filled: { title: 'is not empty', write: () => ({ $isNull: false }) },
};
/** Operators that compare with no value. */
const WITHOUT_VALUE = ['empty', 'filled'];
const PLAIN = ['eq', 'ne', 'gt', 'gte', 'lt', 'lte'];

export const needsValue = (operator) => !WITHOUT_VALUE.includes(operator);

const OF_CHOICES = ['eq', 'ne', 'in', 'empty', 'filled'];
const OF_ORDERED = ['eq', 'gt', 'gte', 'lt', 'lte', 'ne', 'empty', 'filled'];
const OF_TYPES = {
  text: ['contains', 'begins', 'eq', 'ne', 'in', 'empty', 'filled'],
  file: ['eq', 'empty', 'filled'],
  boolean: ['eq', 'empty', 'filled'],
  json: ['empty', 'filled'],
  '[text]': ['has', 'empty', 'filled'],
  '[number]': ['has', 'empty', 'filled'],
  uuid: ['eq', 'in', 'empty', 'filled'],
};

export function listOperators(field) {
  if (isManaged(field)) return WITHOUT_VALUE;
  if (field.enum_values?.length || field.references) return OF_CHOICES;
  return OF_TYPES[field.type] ?? OF_ORDERED;
}

/** The builder's model as a where-tree; conditions without a value are left out. */
export function toWhere(group) {
  const parts = group.items
    .map((item) => (item.items ? toWhere(item) : writeCondition(item)))
    .filter(Boolean);
  if (parts.length < 2) return parts[0];
  return { [group.any ? '$or' : '$and']: parts };
}

function writeCondition({ field, op: operator, value }) {
  const isBlank = value === '' || value === undefined || value === null;
  if (isBlank && needsValue(operator)) return null;
  return { [field]: OPERATORS[operator].write(value) };
}

/** A where-tree as the builder's model, or null where the builder cannot show it. */
export function fromWhere(where) {
  if (!where) return { any: false, items: [] };
  const item = readItem(where);
  if (!item) return null;
  return item.items ? item : { any: false, items: [item] };
}

function readItem(where) {
  const items = Object.entries(where).map(([name, value]) => readMember(name, value));
  if (items.includes(null)) return null;
  return items.length === 1 ? items[0] : { any: false, items };
}

function readMember(name, value) {
  if (name === '$and' || name === '$or') {
    const items = value.map(readItem);
    return items.includes(null) ? null : { any: name === '$or', items };
  }
  return name.startsWith('$') ? null : readCondition(name, value);
}

/** A condition of one field: `5`, `{"$gt": 5}`, or several of them at once. */
function readCondition(field, condition) {
  if (condition === null) return { field, op: 'empty', value: '' };
  const isValue = typeof condition !== 'object' || condition instanceof Digits;
  if (isValue) return { field, op: 'eq', value: String(condition) };
  const items = Object.entries(condition).map(([name, operand]) =>
    readOperator(field, name, operand),
  );
  if (items.length === 1) return items[0];
  return items.includes(null) ? null : { any: false, items };
}

function readOperator(field, name, operand) {
  if (name === '$ilike') return readLike(field, operand);
  if (name === '$isNull') return { field, op: operand ? 'empty' : 'filled', value: '' };
  if (name === '$in') return { field, op: 'in', value: operand.join(', ') };
  if (name === '$contains') return { field, op: 'has', value: operand.join(', ') };
  const plain = name.slice(1);
  return PLAIN.includes(plain) ? { field, op: plain, value: String(operand) } : null;
}

function readLike(field, pattern) {
  const match = /^(%?)((?:[^%\\]|\\.)*)%$/.exec(pattern);
  if (!match) return null;
  const [, start, inner] = match;
  return { field, op: start ? 'contains' : 'begins', value: unescapeLike(inner) };
}

/** The box above a table: rows where any text field holds the words. */
export function buildQuickWhere(entity, text) {
  const pattern = { $ilike: `%${escapeLike(text.trim())}%` };
  const fields = entity.fields
    .filter((field) => field.type === 'text' && !field.enum_values?.length)
    .slice(0, MOST_FIELDS);
  if (!text.trim() || !fields.length) return undefined;
  return { $or: fields.map((field) => ({ [field.name]: pattern })) };
}

/** Two where-trees as one; either may be missing. */
export function joinWheres(left, right) {
  if (left && right) return { $and: [left, right] };
  return left ?? right;
}

/** The filter of an address. @param {string} [text] */
export function readWhere(text) {
  try {
    return text ? parse(text) : undefined;
  } catch {
    return undefined;
  }
}

/** What an address asks the server for: the words go to its search where the entity has one. */
export function buildQuery(entity, where, address) {
  const { q: text = '', sort } = address;
  const group = findGroup(entity, address)?.name;
  const ordering = buildOrder({ ...address, group });
  if (!entity.search)
    return { where: joinWheres(where, buildQuickWhere(entity, text)), ...ordering };
  const search = text.trim() || undefined;
  // Without an order that was asked for, the best hits of a search come first.
  const isByRank = search && !sort && !group;
  return isByRank ? { where, search } : { where, search, ...ordering };
}
