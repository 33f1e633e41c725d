/** Filters: the where-tree of the API and what the builder shows are two spellings of the same. */

import { Digits } from '../../core/json.js';

const like = (text) => text.replace(/[%_\\]/g, '\\$&');
const unlike = (text) => text.replace(/\\([%_\\])/g, '$1');

/** Operators by kind of field: id, words, how it is written. */
export const OPERATORS = {
  contains: ['contains', (v) => ({ $ilike: `%${like(v)}%` })],
  begins: ['begins with', (v) => ({ $ilike: `${like(v)}%` })],
  eq: ['is', (v) => ({ $eq: v })],
  ne: ['is not', (v) => ({ $ne: v })],
  in: [
    'is one of',
    (v) => ({
      $in: Array.isArray(v)
        ? v
        : String(v)
            .split(',')
            .map((t) => t.trim())
            .filter(Boolean),
    }),
  ],
  gt: ['>', (v) => ({ $gt: v })],
  gte: ['≥', (v) => ({ $gte: v })],
  lt: ['<', (v) => ({ $lt: v })],
  lte: ['≤', (v) => ({ $lte: v })],
  has: [
    'contains all of',
    (v) => ({
      $contains: String(v)
        .split(',')
        .map((t) => t.trim())
        .filter(Boolean),
    }),
  ],
  empty: ['is empty', () => ({ $isNull: true })],
  filled: ['is not empty', () => ({ $isNull: false })],
};

export function operatorsOf(field) {
  if (field.enum_values?.length || field.references) return ['eq', 'ne', 'in', 'empty', 'filled'];
  return (
    {
      text: ['contains', 'begins', 'eq', 'ne', 'in', 'empty', 'filled'],
      file: ['eq', 'empty', 'filled'],
      boolean: ['eq', 'empty', 'filled'],
      json: ['empty', 'filled'],
      '[text]': ['has', 'empty', 'filled'],
      '[number]': ['has', 'empty', 'filled'],
      uuid: ['eq', 'in', 'empty', 'filled'],
    }[field.type] ?? ['eq', 'gt', 'gte', 'lt', 'lte', 'ne', 'empty', 'filled']
  );
}

/** The builder's model as a where-tree; conditions without a value are left out. */
export function toWhere(group) {
  const parts = group.items
    .map((item) => (item.items ? toWhere(item) : condition(item)))
    .filter(Boolean);
  if (!parts.length) return undefined;
  return parts.length === 1 ? parts[0] : { [group.any ? '$or' : '$and']: parts };
}

function condition({ field, op, value }) {
  const [, write] = OPERATORS[op];
  if (!['empty', 'filled'].includes(op) && (value === '' || value === undefined || value === null))
    return null;
  return { [field]: write(value) };
}

/** A where-tree as the builder's model, or null where the builder cannot show it. */
export function fromWhere(where) {
  if (!where) return { any: false, items: [] };
  const found = item(where);
  if (!found) return null;
  return found.items ? found : { any: false, items: [found] };
}

function item(where) {
  const pairs = Object.entries(where);
  const items = pairs.map(([name, value]) => {
    if (name === '$and' || name === '$or') {
      const inner = value.map(item);
      return inner.includes(null) ? null : { any: name === '$or', items: inner };
    }
    return name.startsWith('$') ? null : leaf(name, value);
  });
  if (items.includes(null)) return null;
  return items.length === 1 ? items[0] : { any: false, items };
}

function leaf(field, given) {
  if (given === null) return { field, op: 'empty', value: '' };
  if (typeof given !== 'object' || given instanceof Digits)
    return { field, op: 'eq', value: String(given) };
  const pairs = Object.entries(given);
  if (pairs.length !== 1)
    return { any: false, items: pairs.map(([op, v]) => leaf(field, { [op]: v })) };
  const [[op, value]] = pairs;
  if (op === '$ilike') {
    const inner = /^(%?)((?:[^%\\]|\\.)*)%$/.exec(value);
    return inner ? { field, op: inner[1] ? 'contains' : 'begins', value: unlike(inner[2]) } : null;
  }
  if (op === '$isNull') return { field, op: value ? 'empty' : 'filled', value: '' };
  if (op === '$in') return { field, op: 'in', value: value.join(', ') };
  if (op === '$contains') return { field, op: 'has', value: value.join(', ') };
  const known = op.slice(1);
  return ['eq', 'ne', 'gt', 'gte', 'lt', 'lte'].includes(known)
    ? { field, op: known, value: String(value) }
    : null;
}

/** The box above a table: rows where any text field holds the words. */
export function quick(entity, text) {
  const fields = entity.fields
    .filter((f) => f.type === 'text' && !f.enum_values?.length)
    .slice(0, 12);
  if (!text.trim() || !fields.length) return undefined;
  return { $or: fields.map((f) => ({ [f.name]: { $ilike: `%${like(text.trim())}%` } })) };
}

export const both = (a, b) => (a && b ? { $and: [a, b] } : (a ?? b));
