/** Steps about a table: a new one, another name, and away with it. */
import { html, useEffect, useState } from '../../core/kit.js';
import { go, leave } from '../../core/router.js';
import { toWords } from '../../core/store.js';
import { Input, attempt, icon } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { PLAIN_KINDS, membersOf, toLabel, toName } from './fieldform.js';
import { AccessChoice, grantAccess, openStep } from './steps.js';

/** Columns that a new table begins with. */
export const FIRST_COLUMNS = [
  { title: 'Name', kind: 'text' },
  { title: '', kind: 'text' },
  { title: '', kind: 'text' },
];

/** Open the dialog for a new table, and show the table. */
export async function addTable(appId) {
  const made = { name: '', title: '', access: 'all' };
  const Form = ({ change }) => {
    const [title, setTitle] = useState('');
    const [columns, setColumns] = useState(FIRST_COLUMNS);
    const [access, setAccess] = useState('all');
    useEffect(() => {
      const entity = toEntity(title, columns);
      Object.assign(made, { name: entity?.entityName, title: title.trim(), access });
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
      <${AccessChoice} chosen=${access} change=${setAccess} />`;
  };
  const done = () => `The table “${made.title}” was made.`;
  const isDone = await openStep({ appId, title: 'New table', verb: 'Make table', Form, done });
  if (!isDone) return;
  await attempt(() => grantAccess(appId, [made.name], made.access));
  go(['data', appId, made.name]);
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
        <button
          type="button"
          class="quiet icon small"
          aria-label=${`Remove column ${index + 1}`}
          onClick=${() => change(columns.filter((_, at) => at !== index))}
        >
          ${icon('x')}
        </button>
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
    useEffect(() => {
      newName = toName(text);
      const isNew = newName && newName !== entity;
      change(isNew ? [{ op: 'rename_entity', entity, name: newName }] : null);
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
        <code>${toName(text) || '…'}</code>.</p>`;
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
