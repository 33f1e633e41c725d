/** Saving changes of a record without losing another user's. */
import { html } from '../../core/kit.js';
import { api, get, url } from '../../core/api.js';
import { openDialog } from '../../core/ui.js';
import { same, toText } from '../../parts/values.js';
import { words } from '../../core/store.js';
import { forgetTitle } from '../../parts/titles.js';

/**
 * Save `changes` of a record that was shown as `shown`. Where somebody has changed one of these
 * fields meanwhile, both versions are shown and the user decides. Returns the record, or null where
 * the user kept the other version. The server's version is checked by If-Match where it has ETags.
 */
export async function saveRecord(appId, entity, shown, changes) {
  const path = url`/api/v1/apps/${appId}/collections/${entity.name}/${shown.id}`;
  let decided = null;
  for (;;) {
    const { body: now, headers } = await get(path, null, { full: true });
    const clashes = Object.keys(changes).filter((f) => !same(now[f], (decided ?? shown)[f]) && !same(now[f], changes[f]));
    if (clashes.length) {
      if (!(await ask(entity, now, changes, clashes))) return null;
      decided = now;
    }
    const etag = headers.get('etag');
    try {
      const saved = await api('PATCH', path, { body: changes, headers: etag ? { 'if-match': etag } : {} });
      forgetTitle(appId, entity.name, shown.id);
      return { ...now, ...saved };
    } catch (error) {
      if (error.status !== 412) throw error; // changed in this very moment: look again
    }
  }
}

function ask(entity, now, changes, clashes) {
  const text = (name, value) => toText(entity.fields.find((f) => f.name === name) ?? {}, value) || '–';
  return openDialog(({ close }) => html`<h2>Somebody else changed this record</h2>
    <p>It was changed while you were editing. Which version should be kept?</p>
    <table class="list"><thead><tr><th>Field</th><th>Now on the server</th><th>Yours</th></tr></thead><tbody>
      ${clashes.map((name) => html`<tr key=${name}><td>${words(name)}</td><td><del>${text(name, now[name])}</del></td><td><ins>${text(name, changes[name])}</ins></td></tr>`)}</tbody></table>
    <div class="actions"><button autofocus onClick=${() => close(false)}>Keep the server's</button><button class="primary" onClick=${() => close(true)}>Save mine</button></div>`, { label: 'Conflict', wide: true });
}
