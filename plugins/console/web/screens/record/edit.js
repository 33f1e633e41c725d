/**
 * The form of a record, there already or new. Only what was changed is sent, so that two people can
 * edit different fields.
 */
import { html, useEffect, useState } from '../../core/kit.js';
import { api, get, post, url } from '../../core/api.js';
import { askVersion, useUnsaved } from '../../core/dialogs.js';
import { findEntity, may, toWords } from '../../core/store.js';
import { ErrorBox, Loaded, useLoad } from '../../core/ui.js';
import { Fields, matchProblem, toTexts } from '../../form/control.js';
import { forgetTitle } from '../../parts/titles.js';
import { toastUndo } from '../../parts/undo.js';
import { isSame, parseText, toText } from '../../parts/values.js';

/** Fields from which on the form can be searched. */
const MANY = 25;

/**
 * @param {{appId: string, entity: any, row: any, isMarked: boolean, onSaved: (record: any) => void,
 *   onReload: () => void}} props
 */
export function Edit({ appId, entity, row, isMarked, onSaved, onReload }) {
  const saved = toTexts(entity.fields, row);
  const [values, setValues] = useState(saved);
  const [state, setState] = useState({});
  const [text, setText] = useState('');
  const reset = () => {
    setValues(saved);
    setState({});
  };
  useEffect(reset, [row]);
  const changed = entity.fields.filter(({ name }) => values[name] !== saved[name]);
  useUnsaved(changed.length > 0);
  const save = async () => {
    setState({ busy: true });
    try {
      const changes = changed.map((field) => [field.name, parseText(field, values[field.name])]);
      const record = await saveRecord(appId, entity, row, Object.fromEntries(changes));
      if (record) {
        toastUndo('Saved.', { appId, request: record._request, done: onReload });
        onSaved(record);
      } else {
        onReload();
      }
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  const submit = (event) => {
    event.preventDefault();
    save();
  };
  const press = (event) => {
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key === 'Enter') save();
  };
  const isListed = (field) => toWords(field.name).toLowerCase().includes(text.toLowerCase());
  const fields = entity.fields.filter(isListed);
  const search =
    entity.fields.length > MANY &&
    html`<${FieldSearch} count=${entity.fields.length} text=${text} setText=${setText} />`;
  if (!may(appId, entity.name, 'update'))
    return html`<div class="stack recordform ${isMarked ? 'changed' : ''}">
      ${search}
      <${Facts} fields=${fields} row=${row} />
    </div>`;
  return html`<form
    class="stack recordform ${isMarked ? 'changed' : ''}"
    onSubmit=${submit} onKeyDown=${press}>
    ${search}
    <${Fields}
      fields=${fields}
      values=${values}
      appId=${appId}
      focus=${false}
      problems=${state.error ? matchProblem(state.error, entity.fields) : {}}
      onChange=${(name, value) => setValues((before) => ({ ...before, [name]: value }))}
    />
    <${ErrorBox} error=${state.error} />
    <${SaveBar} count=${changed.length} busy=${state.busy} discard=${reset} />
  </form>`;
}

const FieldSearch = ({ count, text, setText }) => html`<input
  type="search"
  placeholder=${`Find one of ${count} fields`}
  aria-label="Find a field"
  value=${text}
  onInput=${(event) => setText(event.target.value)}
/>`;

/** The values of a record that the user may not change. */
const Facts = ({ fields, row }) => html`<dl class="facts">
  ${fields.map(
    (field) => html`<dt>${toWords(field.name)}</dt>
      <dd>${toText(field, row[field.name]) || '–'}</dd>`,
  )}
</dl>`;

function SaveBar({ count, busy, discard }) {
  const isChanged = count > 0;
  return html`<div class="savebar ${isChanged ? 'dirty' : ''}">
    <button class="primary" disabled=${!isChanged || busy}>Save</button>
    ${
      isChanged &&
      html`<button type="button" onClick=${discard}>Discard</button>
        <span class="dim">${count} changed · <kbd>Ctrl Enter</kbd></span>`
    }
  </div>`;
}

// --- saving changes of a record without losing another user's

/** Load a record with its entity tag. */
export async function loadRecord(path, signal) {
  const { body, headers } = await get(path, null, { full: true, signal });
  return { ...body, _etag: headers.get('etag') };
}

/**
 * Save `changes` of a record that was read as `record`. The server refuses them where the record
 * is no longer what its entity tag says. Where another user has changed one of the same fields, both
 * versions are shown and the user decides; changes of other fields are no conflict. Returns the
 * record with its tag and the id of the request, or null where the user kept the other version.
 */
export async function saveRecord(appId, entity, record, changes) {
  const path = url`/api/v1/apps/${appId}/collections/${entity.name}/${record.id}`;
  let base = record;
  for (;;) {
    try {
      const saved = await send(path, base, changes);
      forgetTitle(appId, entity.name, record.id);
      return saved;
    } catch (error) {
      if (error.status !== 412) throw error;
    }
    const current = await loadRecord(path);
    const clashes = findClashes(base, current, changes);
    if (clashes.length) {
      const isMine = await askWhich(entity, current, changes, clashes);
      if (!isMine) return null;
    }
    base = current;
  }
}

async function send(path, base, changes) {
  const headers = base._etag ? { 'if-match': base._etag } : {};
  const saved = await api('PATCH', path, { body: changes, headers, full: true });
  const marks = { _etag: saved.headers.get('etag'), _request: saved.requestId };
  return { ...base, ...saved.body, ...marks };
}

/** Fields that another user has changed since, and not to the same value. */
export function findClashes(base, current, changes) {
  const names = Object.keys(changes);
  return names.filter((name) => {
    const isChanged = !isSame(current[name], base[name]);
    return isChanged && !isSame(current[name], changes[name]);
  });
}

function askWhich(entity, current, changes, clashes) {
  const write = (name, value) => {
    const field = entity.fields.find((candidate) => candidate.name === name) ?? {};
    return toText(field, value) || '–';
  };
  return askVersion({
    title: 'Another user changed this record',
    text: 'It was changed while you were editing. Which version should be kept?',
    rows: clashes.map((name) => [
      toWords(name),
      write(name, current[name]),
      write(name, changes[name]),
    ]),
  });
}

// --- a new record, on its own page or in a dialog over another form

/** @param {{appId: string, entityName: string, preset?: object, page?: boolean,
 *   done: (row: any) => void}} props */
export function NewRecord({ appId, entityName, preset = {}, done, page = false }) {
  const loaded = useLoad(() => findEntity(appId, entityName), [appId, entityName]);
  return html`<${Loaded} of=${loaded}>
    ${(entity) =>
      html`<${Form} appId=${appId} entity=${entity} preset=${preset} done=${done} page=${page} />`}
  <//>`;
}

function Form({ appId, entity, preset, done, page }) {
  const fields = listWritableFields(entity);
  const [values, setValues] = useState({ ...readDefaults(fields), ...preset });
  const [isChanged, setChanged] = useState(false);
  const [error, setError] = useState(null);
  useUnsaved(page && isChanged);
  const change = (name, value) => {
    setChanged(true);
    setValues((before) => ({ ...before, [name]: value }));
  };
  const submit = async (event) => {
    event.preventDefault();
    try {
      const body = buildBody(fields, values);
      done(await post(url`/api/v1/apps/${appId}/collections/${entity.name}`, body));
    } catch (problem) {
      setError(problem);
    }
  };
  const press = (event) => {
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key === 'Enter') event.currentTarget.requestSubmit();
  };
  return html`<form class="stack recordform" onSubmit=${submit} onKeyDown=${press}>
    ${!page && html`<h2>New record in ${toWords(entity.name)}</h2>`}
    <${Fields}
      fields=${fields}
      values=${values}
      appId=${appId}
      prefix="n"
      problems=${error ? matchProblem(error, fields) : {}}
      onChange=${change}
    />
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => done(null)}>Cancel</button>
      <button class="primary">Create</button>
    </div>
  </form>`;
}

function listWritableFields(entity) {
  const fields = entity.fields.filter((field) => !field.locked);
  if (!entity.id_declared) return fields;
  const id = { name: 'id', type: entity.id_type, required: entity.id_type === 'text' };
  return [id, ...entity.fields];
}

function buildBody(fields, values) {
  const isTyped = ({ name }) => values[name] !== undefined && values[name] !== '';
  const members = fields
    .filter(isTyped)
    .map((field) => [field.name, parseText(field, values[field.name])]);
  // At least one member: an empty object is no record.
  if (!members.length) members.push([fields[0].name, null]);
  return Object.fromEntries(members);
}

/** Defaults that the form can show; the server knows those that it computes, as `$now`. */
function readDefaults(fields) {
  const isShown = ({ default: value }) => {
    if (value === null || value === undefined || typeof value === 'object') return false;
    return !String(value).startsWith('$');
  };
  const shown = fields.filter(isShown);
  return Object.fromEntries(shown.map((field) => [field.name, String(field.default)]));
}
