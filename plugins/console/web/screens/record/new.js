/** A new record, on its own page or in a dialog over another form. */
import { html, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { entityOf, words } from '../../core/store.js';
import { ErrorBox, Loaded, useLoad } from '../../core/ui.js';
import { Fields, problemOf } from '../../parts/fields.js';
import { fromText } from '../../parts/values.js';

/** @param {{appId: string, entityName: string, preset?: object, page?: boolean,
 *   done: (row: any) => void}} props */
export function NewRecord({ appId, entityName, preset = {}, done, page = false }) {
  const entity = useLoad(() => entityOf(appId, entityName), [appId, entityName]);
  return html`<${Loaded} of=${entity}>
    ${(e) =>
      html`<${Form} appId=${appId} entity=${e} preset=${preset} done=${done} page=${page} />`}
  <//>`;
}

function Form({ appId, entity, preset, done, page }) {
  const fields = entity.id_declared
    ? [{ name: 'id', type: entity.id_type, required: entity.id_type === 'text' }, ...entity.fields]
    : entity.fields.filter((f) => !f.locked);
  const [values, set] = useState({ ...defaults(fields), ...preset });
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      const body = {};
      for (const f of fields)
        if (values[f.name] !== undefined && values[f.name] !== '')
          body[f.name] = fromText(f, values[f.name]);
      // At least one member: an empty object is no record.
      if (!Object.keys(body).length) body[fields[0].name] = null;
      done(await post(url`/api/v1/apps/${appId}/collections/${entity.name}`, body));
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack recordform" onSubmit=${submit}>
    ${!page && html`<h2>New record in ${words(entity.name)}</h2>`}
    <${Fields}
      fields=${fields}
      values=${values}
      appId=${appId}
      prefix="n"
      problems=${error ? problemOf(error, fields) : {}}
      onChange=${(name, v) => set((s) => ({ ...s, [name]: v }))}
    />
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => done(null)}>Cancel</button>
      <button class="primary">Create</button>
    </div>
  </form>`;
}

const defaults = (fields) =>
  Object.fromEntries(
    fields
      .filter((f) => f.default !== null && f.default !== undefined && typeof f.default !== 'object')
      .filter((f) => !(typeof f.default === 'string' && f.default.startsWith('$')))
      .map((f) => [f.name, String(f.default)]),
  );
