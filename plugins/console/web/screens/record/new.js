/** A new record, on its own page or in a dialog over another form. */
import { html, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { findEntity, toWords } from '../../core/store.js';
import { ErrorBox, Loaded, useLoad } from '../../core/ui.js';
import { useUnsaved } from '../../core/unsaved.js';
import { Fields, matchProblem } from '../../form/fields.js';
import { parseText } from '../../parts/values.js';

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
  return html`<form class="stack recordform" onSubmit=${submit}>
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
