/** The filter builder: conditions and groups, and the tree that they make. */
import { html, useState } from '../../core/kit.js';
import { parse, stringify } from '../../core/json.js';
import { words } from '../../core/store.js';
import { ErrorBox, icon } from '../../core/ui.js';
import { Control } from '../../parts/fields.js';
import { allFields } from '../../parts/values.js';
import { OPERATORS, fromWhere, operatorsOf, toWhere } from './where.js';

/**
 * @param {{appId: string, entity: any, where: any, onChange: (where: any) => void,
 *   close: () => void}} props
 */
export function Filter({ appId, entity, where, onChange, close }) {
  const [model, setModel] = useState(() => fromWhere(where) ?? null);
  const [raw, setRaw] = useState(() => (model ? null : stringify(where, 2)));
  const [error, setError] = useState(null);
  const fields = allFields(entity);
  const start = model && !model.items.length ? { ...model, items: [blank(fields)] } : model;
  const apply = (e) => {
    e.preventDefault();
    try {
      onChange(raw === null ? toWhere(start) : raw.trim() ? parse(raw) : undefined);
      close();
    } catch (problem) {
      setError(problem);
    }
  };
  const asJson = () => setRaw(stringify(toWhere(start) ?? {}, 2));
  const asForm = () => {
    try {
      const read = fromWhere(raw.trim() ? parse(raw) : undefined);
      if (!read) throw new Error('The form cannot show this filter; it can be applied as it is.');
      setModel(read);
      setRaw(null);
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form onSubmit=${apply}>
    <h2>Filter ${words(entity.name).toLowerCase()}</h2>
    ${
      raw === null
        ? html`<${Group} group=${start} fields=${fields} appId=${appId} onChange=${setModel} />`
        : html`<label class="field">
          <span>The tree <code>where</code></span>
          <textarea
            class="mono"
            rows="12"
            spellcheck=${false}
            value=${raw}
            onInput=${(e) => setRaw(e.target.value)}
          />
        </label>`
    }
    <${ErrorBox} error=${error} />
    ${
      raw === null &&
      html`<details>
        <summary class="dim">The tree that is sent</summary>
        <pre>${stringify(toWhere(start) ?? {}, 2)}</pre>
      </details>`
    }
    <div class="actions">
      <button type="button" class="quiet" onClick=${raw === null ? asJson : asForm}>
        ${icon('code')}
        ${raw === null ? 'Edit as JSON' : 'Edit as form'}
      </button>
      <span class="grow" />
      <button type="button" onClick=${() => {
        onChange(undefined);
        close();
      }}>Clear</button>
      <button class="primary">Apply</button>
    </div>
  </form>`;
}

const blank = (fields) => ({ field: fields[0].name, op: operatorsOf(fields[0])[0], value: '' });

function Group({ group, fields, appId, onChange, remove }) {
  const put = (i, item) =>
    onChange({ ...group, items: group.items.map((each, n) => (n === i ? item : each)) });
  const drop = (i) => onChange({ ...group, items: group.items.filter((_, n) => n !== i) });
  return html`<fieldset class="group">
    <legend class="row">
      <select
        aria-label="Match"
        onChange=${(e) => onChange({ ...group, any: e.target.value === 'any' })}
      >
        <option value="all" selected=${!group.any}>All of these</option>
        <option value="any" selected=${group.any}>Any of these</option>
      </select>
      ${
        remove &&
        html`<button
          type="button"
          class="quiet icon small"
          aria-label="Remove the group"
          onClick=${remove}
        >
          ${icon('x')}
        </button>`
      }
    </legend>
    ${group.items.map((item, i) =>
      item.items
        ? html`<${Group}
          key=${i}
          group=${item}
          fields=${fields}
          appId=${appId}
          onChange=${(g) => put(i, g)}
          remove=${() => drop(i)}
        />`
        : html`<${Condition}
          key=${i}
          item=${item}
          fields=${fields}
          appId=${appId}
          onChange=${(c) => put(i, c)}
          remove=${() => drop(i)}
        />`,
    )}
    <div class="row">
      <button
        type="button"
        class="small"
        onClick=${() => onChange({ ...group, items: [...group.items, blank(fields)] })}
      >
        ${icon('plus')}Condition
      </button>
      <button
        type="button"
        class="small quiet"
        onClick=${() =>
          onChange({
            ...group,
            items: [...group.items, { any: !group.any, items: [blank(fields)] }],
          })}
      >
        ${icon('plus')}Group
      </button>
    </div>
  </fieldset>`;
}

function Condition({ item, fields, appId, onChange, remove }) {
  const field = fields.find((f) => f.name === item.field) ?? fields[0];
  const known = operatorsOf(field);
  const choose = (e) => {
    const next = fields.find((f) => f.name === e.target.value);
    onChange({ field: next.name, op: operatorsOf(next)[0], value: '' });
  };
  const typed = ['in', 'has', 'contains', 'begins'].includes(item.op)
    ? { name: 'value', type: 'text' }
    : { ...field, required: false, name: 'value' };
  return html`<div class="condition">
    <select aria-label="Field" onChange=${choose}>
      ${fields.map(
        (f) => html`<option key=${f.name} value=${f.name} selected=${f === field}>
          ${words(f.name)}
        </option>`,
      )}
    </select>
    <select aria-label="Operator" onChange=${(e) => onChange({ ...item, op: e.target.value })}>
      ${known.map(
        (op) => html`<option key=${op} value=${op} selected=${op === item.op}>
          ${OPERATORS[op][0]}
        </option>`,
      )}
    </select>
    ${
      ['empty', 'filled'].includes(item.op)
        ? html`<span class="grow" />`
        : html`<span class="grow value">
          <${Control}
            key=${field.name + item.op}
            id="value"
            label="Value"
            field=${typed}
            value=${item.value}
            appId=${appId}
            onChange=${(value) => onChange({ ...item, value })}
          />
        </span>`
    }
    <button
      type="button"
      class="quiet icon small"
      aria-label="Remove the condition"
      onClick=${remove}
    >
      ${icon('x')}
    </button>
  </div>`;
}
