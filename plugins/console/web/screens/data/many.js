/** Actions on many records: the selected ones, or all that match the filter. */
import { html, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { may, words } from '../../core/store.js';
import { ErrorBox, confirm, icon, openDialog } from '../../core/ui.js';
import { Control } from '../../parts/fields.js';
import { runMany } from '../../parts/progress.js';
import { fromText } from '../../parts/values.js';
import { RowActions } from '../../kit/actions.js';
import { allIds, count } from './rows.js';

/** Records of a batch: it is one transaction, which keeps other writers waiting. */
const PART = 250;

/**
 * @param {{appId: string, entity: any, query: any, chosen: Set<string>, everything: boolean,
 *   setEverything: (on: boolean) => void, clear: () => void, reload: () => void}} props
 */
export function Selection(props) {
  const { appId, entity, query, chosen, everything, setEverything, clear, reload } = props;
  const [total, setTotal] = useState(null);
  const number = everything ? total : chosen.size;
  const all = async () => {
    setTotal(await count(appId, entity, query));
    setEverything(true);
  };
  const end = () => {
    clear();
    reload();
    /** @type {any} */ (document.querySelector('.grid'))?.focus();
  };
  const run = async (title, operation) => {
    const path = url`/api/v1/apps/${appId}/batch`;
    const work = (ids) =>
      post(path, { operations: ids.map((id) => ({ entity: entity.name, id, ...operation })) });
    const ids = everything ? allIds(appId, entity, query) : [...chosen];
    await runMany(title, 'record', { ids, total: number, size: PART, work });
    end();
  };
  const drop = async () => {
    const yes = await confirm(
      `Delete ${number} ${number === 1 ? 'record' : 'records'}?`,
      'They are gone for good. The audit trail keeps what they were.',
      { yes: 'Delete', typed: number > 20 ? String(number) : '' },
    );
    if (yes) await run('Deleting', { op: 'delete' });
  };
  const edit = async () => {
    const change = await openDialog(
      ({ close }) => html`<${EditField}
        appId=${appId}
        entity=${entity}
        number=${number}
        close=${close}
      />`,
      { label: 'Edit a field' },
    );
    if (change) await run('Changing', { op: 'update', data: change });
  };
  return html`<div class="selection" role="region" aria-label="Selection">
    <b>${number} selected</b>
    ${!everything && html`<button class="link" onClick=${all}>Select all that match</button>`}
    <span class="grow" />
    ${
      may(appId, entity.name, 'update') &&
      html`<button onClick=${edit}>${icon('edit')}Edit a field</button>`
    }
    ${
      may(appId, entity.name, 'delete') &&
      html`<button onClick=${drop}>${icon('trash')}Delete</button>`
    }
    <${RowActions} appId=${appId} entity=${entity} ids=${everything ? null : [...chosen]} done=${end} />
    <button class="quiet icon" aria-label="Clear the selection" onClick=${clear}>
      ${icon('x')}
    </button>
  </div>`;
}

function EditField({ appId, entity, number, close }) {
  const fields = entity.fields.filter((f) => !f.locked);
  const [name, setName] = useState(fields[0]?.name);
  const [text, setText] = useState('');
  const [error, setError] = useState(null);
  const field = fields.find((f) => f.name === name);
  const submit = (e) => {
    e.preventDefault();
    try {
      close({ [name]: fromText(field, text) });
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit}>
    <h2>Change ${number} ${number === 1 ? 'record' : 'records'}</h2>
    <label class="field">
      <span>Field</span>
      <select
        onChange=${(e) => {
          setName(e.target.value);
          setText('');
        }}
      >
        ${fields.map((f) => html`<option key=${f.name} value=${f.name}>${words(f.name)}</option>`)}
      </select>
    </label>
    <div class="field">
      <label for="many-value"><span>New value</span></label>
      <${Control}
        key=${name}
        id="many-value"
        field=${field}
        appId=${appId}
        value=${text}
        onChange=${setText}
      />
    </div>
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Change</button>
    </div>
  </form>`;
}
