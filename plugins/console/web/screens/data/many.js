/** Actions on many records: the selected ones, or all that match the filter. */
import { html, useState } from '../../core/kit.js';
import { patch, remove, url } from '../../core/api.js';
import { may, words } from '../../core/store.js';
import { ErrorBox, confirm, icon, openDialog, toast } from '../../core/ui.js';
import { Control } from '../../parts/fields.js';
import { fromText } from '../../parts/values.js';
import { allIds, count } from './rows.js';

/** @param {{appId: string, entity: any, where: any, chosen: Set<string>, everything: boolean, setEverything: (on: boolean) => void, clear: () => void, reload: () => void}} props */
export function Selection({ appId, entity, where, chosen, everything, setEverything, clear, reload }) {
  const [total, setTotal] = useState(null);
  const number = everything ? total : chosen.size;
  const all = async () => { setTotal(await count(appId, entity, where)); setEverything(true); };
  const one = (id) => url`/api/v1/apps/${appId}/collections/${entity.name}/${id}`;
  const run = async (title, work) => {
    const ids = everything ? allIds(appId, entity, where) : [...chosen];
    const result = await openDialog(({ close }) => html`<${Progress} title=${title} ids=${ids} total=${number} work=${work} close=${close} />`, { label: title });
    if (result) toast(`${result.done} ${result.done === 1 ? 'record' : 'records'} done${result.failed ? `, ${result.failed} failed` : ''}.`, { kind: result.failed ? 'bad' : 'ok', detail: result.said });
    clear();
    reload();
    document.querySelector('.grid')?.focus();
  };
  const drop = async () => {
    const yes = await confirm(`Delete ${number} ${number === 1 ? 'record' : 'records'}?`, 'They are gone for good. The audit trail keeps what they were.', { yes: 'Delete', typed: number > 20 ? String(number) : '' });
    if (yes) await run('Deleting', (id) => remove(one(id)));
  };
  const edit = async () => {
    const change = await openDialog(({ close }) => html`<${EditField} appId=${appId} entity=${entity} number=${number} close=${close} />`, { label: 'Edit a field' });
    if (change) await run('Changing', (id) => patch(one(id), change));
  };
  return html`<div class="selection" role="region" aria-label="Selection"><b>${number} selected</b>
    ${!everything && html`<button class="link" onClick=${all}>Select all that match</button>`}<span class="grow" />
    ${may(appId, entity.name, 'update') && html`<button onClick=${edit}>${icon('edit')}Edit a field</button>`}
    ${may(appId, entity.name, 'delete') && html`<button onClick=${drop}>${icon('trash')}Delete</button>`}
    <button class="quiet icon" aria-label="Clear the selection" onClick=${clear}>${icon('x')}</button></div>`;
}

function EditField({ appId, entity, number, close }) {
  const [name, setName] = useState(entity.fields[0].name);
  const [text, setText] = useState('');
  const [error, setError] = useState(null);
  const field = entity.fields.find((f) => f.name === name);
  const submit = (e) => {
    e.preventDefault();
    try { close({ [name]: fromText(field, text) }); } catch (problem) { setError(problem); }
  };
  return html`<form class="stack" onSubmit=${submit}><h2>Change ${number} ${number === 1 ? 'record' : 'records'}</h2>
    <label class="field"><span>Field</span><select onChange=${(e) => { setName(e.target.value); setText(''); }}>${entity.fields.map((f) => html`<option key=${f.name} value=${f.name}>${words(f.name)}</option>`)}</select></label>
    <div class="field"><label for="many-value"><span>New value</span></label><${Control} key=${name} id="many-value" field=${field} appId=${appId} value=${text} onChange=${setText} /></div>
    <${ErrorBox} error=${error} /><div class="actions"><button type="button" onClick=${() => close()}>Cancel</button><button class="primary">Change</button></div></form>`;
}

/** Does the work record by record and shows how far it is; it can be stopped. */
function Progress({ title, ids, total, work, close }) {
  const [state, set] = useState({ done: 0, failed: 0, said: '', running: false, stop: { now: false } });
  const start = async (bar) => {
    if (!bar || state.running) return;
    state.running = true;
    // The ids first: a filter may no longer match what has been changed.
    const all = [];
    for await (const id of ids) all.push(id);
    let [done, failed, said] = [0, 0, ''];
    for (const id of all) {
      if (state.stop.now) break;
      try { await work(id); done += 1; } catch (error) { failed += 1; said = error.message; }
      set((s) => ({ ...s, done, failed, said }));
    }
    close({ done, failed, said });
  };
  return html`<h2>${title}</h2><progress ref=${start} max=${total} value=${state.done + state.failed} aria-label=${title} /><p class="dim">${state.done + state.failed} of ${total}${state.failed ? `, ${state.failed} failed` : ''}</p>
    <div class="actions"><button onClick=${() => { state.stop.now = true; }}>Stop</button></div>`;
}
