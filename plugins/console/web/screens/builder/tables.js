/** Steps about columns and tables: a new one, another name, type or place, and away with it. */
import { html, useEffect, useState } from '../../core/kit.js';
import { go, leave } from '../../core/router.js';
import { toWords } from '../../core/store.js';
import { IconButton, Input, attempt, icon } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import {
  FieldForm,
  PLAIN_KINDS,
  fromGenerated,
  kindOf,
  membersOf,
  newColumn,
  toField,
  toLabel,
  toName,
} from './fieldform.js';
import { AccessChoice, findEntityOf, findField, grantAccess, openStep } from './steps.js';

/** Open the dialog for a new column; `start` is what is known of it. @returns {Promise<boolean>} */
export function addColumn(appId, entity, start = {}) {
  let title = '';
  const Form = ({ manifest, change }) => {
    const [column, setColumn] = useState({ ...newColumn, ...start });
    useEffect(() => {
      title = column.title.trim();
      const name = toName(column.title);
      const members = toField(column, findEntityOf(manifest, entity)?.fields ?? []);
      change(name && members ? makeAddition(manifest, entity, name, column, members) : null);
    }, [column, manifest]);
    return html`<${FieldForm}
      manifest=${manifest}
      entity=${entity}
      column=${column}
      change=${setColumn}
      isNew
    />`;
  };
  const heading = `New column in ${toWords(entity)}`;
  const done = () => `The column “${title}” was added.`;
  return openStep({ appId, title: heading, verb: 'Add column', Form, done });
}

function makeAddition(manifest, entity, name, column, members) {
  const label = toLabel(column.title, toWords(name));
  const field = { name, ...(label && { label }), ...members };
  /** @type {any[]} */
  const operations = [{ op: 'add_field', entity, field }];
  if (column.unique) operations.push(makeUnique(manifest, entity, name, true));
  return operations;
}

/** The operation that makes a column unique, or lets it have equal values again. */
function makeUnique(manifest, entity, name, isUnique) {
  const indexes = findEntityOf(manifest, entity)?.indexes ?? [];
  const others = indexes.filter((index) => !isUniqueIndex(index, name));
  const own = isUnique ? [{ columns: [name], unique: true }] : [];
  const all = [...others, ...own];
  return { op: 'change_entity', entity, set: { indexes: all.length ? all : null } };
}

const isUniqueIndex = (index, name) =>
  index.unique && index.columns.length === 1 && index.columns[0] === name;

/** Open the dialog that gives a column another name; its values and links stay. */
export function renameColumn(appId, entity, name) {
  let title = '';
  const Form = ({ manifest, change }) => {
    const field = findField(manifest, entity, name) ?? { name };
    const [text, setText] = useState(field.label ?? toWords(name));
    const newName = toName(text);
    const isTaken = newName !== name && Boolean(findField(manifest, entity, newName));
    useEffect(() => {
      title = text.trim();
      change(newName ? makeRename(entity, field, newName, text, isTaken) : null);
    }, [text, manifest]);
    return html`<${Input}
        title="Name"
        autofocus
        required
        maxlength="60"
        value=${text}
        onInput=${(event) => setText(event.target.value)}
      />
      <p class="dim">Values, links, rights and the history stay. Programs use the name
        <code>${newName || '…'}</code>.</p>
      ${isTaken && html`<${Swap} noun="columns" name=${name} other=${newName} />`}`;
  };
  const done = () => `The column is called “${title}” now.`;
  return openStep({ appId, title: `Rename ${toWords(name)}`, verb: 'Rename', Form, done });
}

/** Said where a name is taken: both keep what they hold. */
const Swap = ({ noun, name, other }) => html`<p class="notice">
  There is <b>${toWords(other)}</b> already. The two ${noun} exchange their names: that one is called
  <b> ${toWords(name)}</b> then, and both keep what they hold.
</p>`;

function makeRename(entity, field, newName, text, isTaken) {
  const operations = [];
  const step = { entity, field: field.name };
  if (isTaken) operations.push({ op: 'swap_fields', ...step, other: newName });
  else if (newName !== field.name) operations.push({ op: 'rename_field', ...step, name: newName });
  const label = toLabel(text, toWords(newName)) ?? null;
  if (label !== (field.label ?? null))
    operations.push({ op: 'change_field', entity, field: newName, set: { label } });
  return operations.length ? operations : null;
}

/** Members that a change of type takes away or replaces. */
const OF_TYPES = [
  'type',
  'format',
  'currency',
  'enum_values',
  'colours',
  'references',
  'on_delete',
  'generated',
  'maxSize',
  'types',
  'required',
  'default_value',
];

/** Open the dialog that changes the type and the rules of a column. */
export function changeColumn(appId, entity, name) {
  const Form = ({ manifest, change }) => {
    const field = findField(manifest, entity, name) ?? { name, type: 'text' };
    const indexes = findEntityOf(manifest, entity)?.indexes ?? [];
    const wasUnique = indexes.some((index) => isUniqueIndex(index, name));
    const [column, setColumn] = useState(() => fromField(field, wasUnique));
    useEffect(() => {
      const members = toField(column, findEntityOf(manifest, entity)?.fields ?? []);
      const isSame = JSON.stringify(column) === JSON.stringify(fromField(field, wasUnique));
      if (!members || isSame) {
        change(null);
        return;
      }
      change(makeChange(manifest, entity, field, column, members, wasUnique));
    }, [column, manifest]);
    return html`<${FieldForm}
      manifest=${manifest}
      entity=${entity}
      column=${column}
      change=${setColumn}
      isNew=${false}
    />`;
  };
  const done = () => `The column “${toWords(name)}” was changed.`;
  return openStep({ appId, title: `Change ${toWords(name)}`, verb: 'Change', Form, done });
}

function makeChange(manifest, entity, field, column, members, wasUnique) {
  const formerDetails = column.kind === kindOf(field) ? pickDetails(field) : {};
  const next = { ...formerDetails, ...members };
  const set = {};
  for (const name of OF_TYPES) {
    const before = readMember(field, name);
    const after = next[name];
    if (JSON.stringify(before) !== JSON.stringify(after)) set[name] = after ?? null;
  }
  const operations = [];
  if (Object.keys(set).length)
    operations.push({ op: 'change_field', entity, field: field.name, set });
  if (column.unique !== wasUnique)
    operations.push(makeUnique(manifest, entity, field.name, column.unique));
  return operations.length ? operations : null;
}

/** What the form does not show, and a change of the same kind keeps. */
function pickDetails(field) {
  const names = ['currency', 'maxSize', 'types', ...(kindOf(field) === 'json' ? ['type'] : [])];
  const present = names.filter((name) => field[name] !== undefined);
  return Object.fromEntries(present.map((name) => [name, field[name]]));
}

const toCamel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const readMember = (field, name) => field[name] ?? field[toCamel(name)];

function fromField(field, unique) {
  const values = readMember(field, 'enum_values') ?? [];
  const choices = values.map((value) => ({ value, colour: field.colours?.[value] ?? 'grey' }));
  const byDefault = readMember(field, 'default_value');
  return {
    ...newColumn,
    kind: kindOf(field),
    required: Boolean(field.required),
    unique,
    byDefault: byDefault === undefined || byDefault === null ? '' : String(byDefault),
    choices: choices.length ? choices : newColumn.choices,
    target: field.references?.entity ?? '',
    onDelete: readMember(field, 'on_delete') ?? (field.required ? 'restrict' : 'set_null'),
    ...(fromGenerated(field.generated) ?? { way: '' }),
  };
}

/** Open the dialog that takes a column away; it says what is kept. */
export function removeColumn(appId, entity, name) {
  const Form = ({ manifest, change }) => {
    useEffect(() => change([{ op: 'remove_field', entity, field: name }]), [manifest]);
    return html`<p>
      The column goes from tables, forms and the API. Its values are kept in the database until an
      admin drops them for good, at <b>Apps → Retired</b>; until then it can come back.
    </p>`;
  };
  const done = () => `The column “${toWords(name)}” was removed. Its values are kept.`;
  const step = { appId, title: `Remove ${toWords(name)}?`, verb: 'Remove', danger: true };
  return openStep({ ...step, Form, done });
}

/** Move a column by some places in the order of forms and records. */
export function moveColumn(appId, entity, name, steps) {
  const Form = ({ manifest, change }) => {
    const names = findEntityOf(manifest, entity)?.fields?.map((field) => field.name) ?? [];
    const index = Math.max(0, Math.min(names.length - 1, names.indexOf(name) + steps));
    useEffect(() => change([{ op: 'move_field', entity, field: name, index }]), [manifest]);
    const before = names.filter((other) => other !== name)[index];
    return html`<p>
      In forms and new views, <b>${toWords(name)}</b> ${before ? html`comes before <b>${toWords(before)}</b>` : 'comes last'}.
    </p>`;
  };
  const done = () => `The column “${toWords(name)}” was moved.`;
  return openStep({ appId, title: `Move ${toWords(name)}`, verb: 'Move', Form, done });
}

// --- tables

/** Columns that a new table begins with. */
export const FIRST_COLUMNS = [
  { title: 'Name', kind: 'text' },
  { title: '', kind: 'text' },
  { title: '', kind: 'text' },
];

/** Open the dialog for a new table, and show the table. */
export async function addTable(appId) {
  const newTable = { name: '', title: '', access: 'all' };
  const Form = ({ change }) => {
    const [title, setTitle] = useState('');
    const [columns, setColumns] = useState(FIRST_COLUMNS);
    const [access, setAccess] = useState('all');
    useEffect(() => {
      const entity = toEntity(title, columns);
      Object.assign(newTable, { name: entity?.entityName, title: title.trim(), access });
      change(entity && [{ op: 'add_entity', entity }]);
    }, [title, columns, access]);
    return html`<${Input}
        title="Name"
        autofocus
        required
        maxlength="60"
        placeholder="Invoices"
        value=${title}
        onInput=${(event) => setTitle(event.target.value)}
      />
      <${ColumnRows} columns=${columns} change=${setColumns} />
      <${AccessChoice} chosen=${access} change=${setAccess} appId=${appId} />`;
  };
  const done = () => `The table “${newTable.title}” was made.`;
  const isDone = await openStep({ appId, title: 'New table', verb: 'Make table', Form, done });
  if (!isDone) return;
  await attempt(() => grantAccess(appId, [newTable.name], newTable.access));
  go(['data', appId, newTable.name]);
}

/** An entity of a manifest, from what is typed; null without a name. */
export function toEntity(title, columns) {
  const entityName = toName(title);
  if (!entityName) return null;
  const named = columns.filter((column) => toName(column.title));
  const fields = named.map(({ title: text, kind }) => {
    const name = toName(text);
    const label = toLabel(text, toWords(name));
    return { name, ...(label && { label }), ...membersOf(kind) };
  });
  const label = toLabel(title, toWords(entityName));
  return { entityName, ...(label && { label }), fields };
}

/** Names and types of columns, one a line. */
export function ColumnRows({ columns, change }) {
  const set = (index, members) =>
    change(columns.map((column, at) => (at === index ? { ...column, ...members } : column)));
  return html`<fieldset class="choices">
    <legend>Columns</legend>
    ${columns.map(
      (column, index) => html`<div class="row" key=${index}>
        <input
          class="grow"
          aria-label=${`Name of column ${index + 1}`}
          placeholder="Name"
          value=${column.title}
          onInput=${(event) => set(index, { title: event.target.value })}
        />
        <select
          aria-label=${`Type of column ${index + 1}`}
          onChange=${(event) => set(index, { kind: event.target.value })}
        >
          <${Options} choices=${PLAIN_KINDS} chosen=${column.kind} />
        </select>
        <${IconButton}
          isSmall
          glyph="x"
          label=${`Remove column ${index + 1}`}
          onClick=${() => change(columns.filter((_, at) => at !== index))}
        />
      </div>`,
    )}
    <button
      type="button"
      class="small"
      onClick=${() => change([...columns, { title: '', kind: 'text' }])}
    >
      ${icon('plus')}Column
    </button>
    <small class="dim">Choices, links and files can be added to the table itself.</small>
  </fieldset>`;
}

/** Open the dialog that gives a table another name, and show it there. */
export async function renameTable(appId, entity) {
  let newName = entity;
  const Form = ({ manifest, change }) => {
    const [text, setText] = useState(toWords(entity));
    const typed = toName(text);
    const isTaken = typed !== entity && Boolean(findEntityOf(manifest, typed));
    useEffect(() => {
      newName = typed;
      const step = isTaken
        ? { op: 'swap_entities', entity, other: typed }
        : { op: 'rename_entity', entity, name: typed };
      change(typed && typed !== entity ? [step] : null);
    }, [text, manifest]);
    return html`<${Input}
        title="Name"
        autofocus
        required
        maxlength="60"
        value=${text}
        onInput=${(event) => setText(event.target.value)}
      />
      <p class="dim">Records, links, rights, views and the history stay. Programs use the name
        <code>${typed || '…'}</code>.</p>
      ${isTaken && html`<${Swap} noun="tables" name=${entity} other=${typed} />`}`;
  };
  const done = () => `The table is called “${toWords(newName)}” now.`;
  const title = `Rename ${toWords(entity)}`;
  const isDone = await openStep({ appId, title, verb: 'Rename', Form, done });
  if (isDone) leave(['data', appId, newName]);
}

/** Open the dialog that takes a table away; it says what is kept. */
export async function removeTable(appId, entity) {
  const Form = ({ manifest, change }) => {
    useEffect(() => change([{ op: 'remove_entity', entity }]), [manifest]);
    return html`<p>
      The table goes from the console and the API. Its records are kept in the database until an
      admin drops them for good, at <b>Apps → Retired</b>; until then it can come back.
    </p>`;
  };
  const done = () => `The table “${toWords(entity)}” was removed. Its records are kept.`;
  const step = { appId, title: `Remove ${toWords(entity)}?`, verb: 'Remove', danger: true };
  const isDone = await openStep({ ...step, Form, done });
  if (isDone) leave(['apps', appId]);
}
