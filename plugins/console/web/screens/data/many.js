/** Actions on many records: the selected ones, or all that match the filter. */
import { html, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { confirm, openDialog } from '../../core/dialogs.js';
import { may, toWords } from '../../core/store.js';
import { ErrorBox, IconButton, fail, icon } from '../../core/ui.js';
import { Choice, Control } from '../../form/control.js';
import { RowActions } from '../../kit/tile.js';
import { countRecords, hasUndo, makeRequestId, runMany, toastUndo } from '../../parts/undo.js';
import { parseText } from '../../parts/values.js';
import { count, listIds } from './rows.js';

/** Records of a batch: it is one transaction, which keeps other writers waiting. */
const PART = 250;
/** Records that are deleted without typing their number. */
const FEW = 20;

/**
 * @param {{appId: string, entity: any, query: any, chosen: Set<string>, everything: boolean,
 *   setEverything: (on: boolean) => void, clear: () => void, reload: () => void}} props
 */
export function Selection(props) {
  const { appId, entity, query, chosen, everything, setEverything, clear, reload } = props;
  const [total, setTotal] = useState(null);
  const number = everything ? total : chosen.size;
  const selectAll = async () => {
    try {
      setTotal(await count(appId, entity, query));
      setEverything(true);
    } catch (error) {
      fail(error);
    }
  };
  const end = () => {
    clear();
    reload();
    /** @type {any} */ (document.querySelector('.grid'))?.focus();
  };
  const run = async (title, operation) => {
    const path = url`/api/v1/apps/${appId}/batch`;
    const request = makeRequestId(); // one for all parts, so that they are undone together
    const headers = { 'x-request-id': request };
    const work = (part) => {
      const operations = part.map((id) => ({ entity: entity.name, id, ...operation }));
      return post(path, { operations }, { headers });
    };
    const ids = everything ? listIds(appId, entity, query) : [...chosen];
    const show = (text, options) => toastUndo(text, { appId, request, ...options });
    await runMany(title, 'record', { ids, total: number, size: PART, work, show });
    end();
  };
  const drop = async () => {
    const isSure = await confirm(
      `Delete ${countRecords(number)}?`,
      hasUndo() ? 'It can be undone.' : 'They are gone for good.',
      { yes: 'Delete', typed: number > FEW ? String(number) : '' },
    );
    if (isSure) await run('Deleting', { op: 'delete' });
  };
  const edit = async () => {
    const question = { appId, entity, number };
    const content = ({ close }) => html`<${EditField} ...${question} close=${close} />`;
    const change = await openDialog(content, { label: 'Edit a field' });
    if (change) await run('Changing', { op: 'update', data: change });
  };
  const mayUpdate = may(appId, entity.name, 'update');
  const mayDelete = may(appId, entity.name, 'delete');
  const ids = everything ? null : [...chosen];
  return html`<div class="selection" role="region" aria-label="Selection">
    <b>${number} selected</b>
    ${!everything && html`<button class="link" onClick=${selectAll}>Select all that match</button>`}
    <span class="grow" />
    ${mayUpdate && html`<button onClick=${edit}>${icon('edit')}Edit a field</button>`}
    ${mayDelete && html`<button onClick=${drop}>${icon('trash')}Delete</button>`}
    <${RowActions} appId=${appId} entity=${entity} ids=${ids} done=${end} />
    <${IconButton} glyph="x" label="Clear the selection" onClick=${clear} />
  </div>`;
}

function EditField({ appId, entity, number, close }) {
  const fields = entity.fields.filter((field) => !field.locked);
  const [name, setName] = useState(fields[0]?.name);
  const [text, setText] = useState('');
  const [error, setError] = useState(null);
  const chosen = fields.find((field) => field.name === name);
  const choose = (chosenName) => {
    setName(chosenName);
    setText('');
  };
  const submit = (event) => {
    event.preventDefault();
    try {
      close({ [name]: parseText(chosen, text) });
    } catch (problem) {
      setError(problem);
    }
  };
  const choices = fields.map((field) => [field.name, toWords(field.name)]);
  return html`<form class="stack" onSubmit=${submit}>
    <h2>Change ${countRecords(number)}</h2>
    <${Choice} title="Field" choices=${choices} chosen=${name} change=${choose} />
    <div class="field">
      <label for="many-value"><span>New value</span></label>
      <${Control}
        key=${name}
        id="many-value"
        field=${chosen}
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
