/** The filter builder: conditions and groups, and the tree that they make. */
import { html, useState } from '../../core/kit.js';
import { parse, stringify } from '../../core/json.js';
import { toWords } from '../../core/store.js';
import { ErrorBox, icon } from '../../core/ui.js';
import { Control } from '../../form/control.js';
import { Options } from '../../form/options.js';
import { listFields } from '../../parts/values.js';
import { OPERATORS, fromWhere, listOperators, needsValue, toWhere } from './where.js';

/** Operators whose value is typed as text, whatever the field. */
const OF_TEXT = ['in', 'has', 'contains', 'begins'];
const MATCHES = [
  ['all', 'All of these'],
  ['any', 'Any of these'],
];
const NOT_SHOWABLE = 'The form cannot show this filter; it can be applied as it is.';

/**
 * @param {{appId: string, entity: any, where: any, onChange: (where: any) => void,
 *   close: () => void}} props
 */
export function Filter({ appId, entity, where, onChange, close }) {
  const fields = listFields(entity);
  const [model, setModel] = useState(() => addFirstCondition(fromWhere(where), fields));
  /** The tree as text, where it is edited as JSON; null in the form. */
  const [text, setText] = useState(() => (model ? null : stringify(where, 2)));
  const [error, setError] = useState(null);
  const isForm = text === null;
  const readTree = () => (text.trim() ? parse(text) : undefined);
  const attempt = (work) => {
    try {
      work();
    } catch (problem) {
      setError(problem);
    }
  };
  const finish = (tree) => {
    onChange(tree);
    close();
  };
  const apply = (event) => {
    event.preventDefault();
    attempt(() => finish(isForm ? toWhere(model) : readTree()));
  };
  const showJson = () => setText(stringify(toWhere(model) ?? {}, 2));
  const showForm = () =>
    attempt(() => {
      const readModel = fromWhere(readTree());
      if (!readModel) throw new Error(NOT_SHOWABLE);
      setModel(addFirstCondition(readModel, fields));
      setText(null);
      setError(null);
    });
  return html`<form onSubmit=${apply}>
    <h2>Filter ${toWords(entity.name).toLowerCase()}</h2>
    ${
      isForm
        ? html`<${Group} group=${model} fields=${fields} appId=${appId} onChange=${setModel} />`
        : html`<${Tree} text=${text} setText=${setText} />`
    }
    <${ErrorBox} error=${error} />
    ${
      isForm &&
      html`<details>
        <summary class="dim">The tree that is sent</summary>
        <pre>${stringify(toWhere(model) ?? {}, 2)}</pre>
      </details>`
    }
    <div class="actions">
      <button type="button" class="quiet" onClick=${isForm ? showJson : showForm}>
        ${icon('code')}
        ${isForm ? 'Edit as JSON' : 'Edit as form'}
      </button>
      <span class="grow" />
      <button type="button" onClick=${() => finish(undefined)}>Clear</button>
      <button class="primary">Apply</button>
    </div>
  </form>`;
}

const Tree = ({ text, setText }) => html`<label class="field">
  <span>The tree <code>where</code></span>
  <textarea
    class="mono"
    rows="12"
    spellcheck=${false}
    value=${text}
    onInput=${(event) => setText(event.target.value)}
  />
</label>`;

const makeCondition = (fields) => ({
  field: fields[0].name,
  op: listOperators(fields[0])[0],
  value: '',
});

/** An empty form begins with one condition. */
function addFirstCondition(model, fields) {
  const isEmpty = model && !model.items.length;
  return isEmpty ? { ...model, items: [makeCondition(fields)] } : model;
}

function Group({ group, fields, appId, onChange, remove = null }) {
  const { items } = group;
  const setItems = (changed) => onChange({ ...group, items: changed });
  const replace = (index, item) => setItems(items.with(index, item));
  const drop = (index) => setItems(items.toSpliced(index, 1));
  const addCondition = () => setItems([...items, makeCondition(fields)]);
  const addGroup = () => setItems([...items, { any: !group.any, items: [makeCondition(fields)] }]);
  const chooseMatch = (event) => onChange({ ...group, any: event.target.value === 'any' });
  return html`<fieldset class="group">
    <legend class="row">
      <select aria-label="Match" onChange=${chooseMatch}>
        <${Options} choices=${MATCHES} chosen=${group.any ? 'any' : 'all'} />
      </select>
      ${remove && html`<${RemoveButton} label="Remove the group" remove=${remove} />`}
    </legend>
    ${items.map((item, index) => {
      const Item = item.items ? Group : Condition;
      return html`<${Item}
        key=${index}
        group=${item}
        item=${item}
        fields=${fields}
        appId=${appId}
        onChange=${(changed) => replace(index, changed)}
        remove=${() => drop(index)}
      />`;
    })}
    <div class="row">
      <button type="button" class="small" onClick=${addCondition}>${icon('plus')}Condition</button>
      <button type="button" class="small quiet" onClick=${addGroup}>${icon('plus')}Group</button>
    </div>
  </fieldset>`;
}

function Condition({ item, fields, appId, onChange, remove }) {
  const field = fields.find((candidate) => candidate.name === item.field) ?? fields[0];
  const chooseField = (event) => {
    const chosen = fields.find((candidate) => candidate.name === event.target.value);
    onChange({ field: chosen.name, op: listOperators(chosen)[0], value: '' });
  };
  const chooseOperator = (event) => onChange({ ...item, op: event.target.value });
  const fieldChoices = fields.map(({ name }) => [name, toWords(name)]);
  const operatorChoices = listOperators(field).map((name) => [name, OPERATORS[name].title]);
  return html`<div class="condition">
    <select aria-label="Field" onChange=${chooseField}>
      <${Options} choices=${fieldChoices} chosen=${field.name} />
    </select>
    <select aria-label="Operator" onChange=${chooseOperator}>
      <${Options} choices=${operatorChoices} chosen=${item.op} />
    </select>
    <${ConditionValue} field=${field} item=${item} appId=${appId} onChange=${onChange} />
    <${RemoveButton} label="Remove the condition" remove=${remove} />
  </div>`;
}

function ConditionValue({ field, item, appId, onChange }) {
  if (!needsValue(item.op)) return html`<span class="grow" />`;
  const isText = OF_TEXT.includes(item.op);
  const typed = isText
    ? { name: 'value', type: 'text' }
    : { ...field, required: false, name: 'value' };
  return html`<span class="grow value">
    <${Control}
      key=${field.name + item.op}
      id="value"
      label="Value"
      field=${typed}
      value=${item.value}
      appId=${appId}
      onChange=${(value) => onChange({ ...item, value })}
    />
  </span>`;
}

const RemoveButton = ({ label, remove }) => html`<button
  type="button"
  class="quiet icon small"
  aria-label=${label}
  onClick=${remove}
>
  ${icon('x')}
</button>`;
