/** Forms of a JSON Schema: its members as fields, and what was typed as the body. */
import { parse } from '../core/json.js';

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
