/** Filters: the where-tree of the API and what the builder shows are two spellings of the same. */
import { Digits } from '../../core/json.js';
import { isManaged } from '../../parts/files.js';

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
