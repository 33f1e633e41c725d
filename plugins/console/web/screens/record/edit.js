/** The form of a record. Only what was changed is sent, so that two people can edit different fields. */
import { html, useEffect, useState } from '../../core/kit.js';
import { may, toWords } from '../../core/store.js';
import { ErrorBox } from '../../core/ui.js';
import { useUnsaved } from '../../core/unsaved.js';
import { Fields, matchProblem, toTexts } from '../../form/fields.js';
import { toastUndo } from '../../parts/undo.js';
import { parseText, toText } from '../../parts/values.js';
import { saveRecord } from './save.js';

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
