/** Types of columns in plain words, and what each is in a manifest. */

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
