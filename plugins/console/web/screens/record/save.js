/** Saving changes of a record without losing another user's. */
import { html } from '../../core/kit.js';
import { api, get, url } from '../../core/api.js';
import { words } from '../../core/store.js';
import { openDialog } from '../../core/ui.js';
import { forgetTitle } from '../../parts/titles.js';
import { same, toText } from '../../parts/values.js';

/** Load a record with its entity tag. */
export async function loadRecord(path, signal) {
  const { body, headers } = await get(path, null, { full: true, signal });
  return { ...body, _etag: headers.get('etag') };
}

/**
 * Save `changes` of a record that was shown as `shown`. The server refuses them where the record
 * is no longer what its entity tag says. Where another user has changed one of the same fields, both
 * versions are shown and the user decides; changes of other fields are no conflict. Returns the
 * record, or null where the user kept the other version.
 */
export async function saveRecord(appId, entity, shown, changes) {
  const path = url`/api/v1/apps/${appId}/collections/${entity.name}/${shown.id}`;
  let known = shown;
  for (;;) {
    try {
      const headers = known._etag ? { 'if-match': known._etag } : {};
      const saved = await api('PATCH', path, { body: changes, headers, full: true });
      forgetTitle(appId, entity.name, shown.id);
      return { ...known, ...saved.body, _etag: saved.headers.get('etag') };
    } catch (error) {
      if (error.status !== 412) throw error;
      const now = await loadRecord(path);
      const clashes = Object.keys(changes).filter(
        (f) => !same(now[f], known[f]) && !same(now[f], changes[f]),
      );
      if (clashes.length && !(await ask(entity, now, changes, clashes))) return null;
      known = now;
    }
  }
}

function ask(entity, now, changes, clashes) {
  const text = (name, value) =>
    toText(entity.fields.find((f) => f.name === name) ?? {}, value) || '–';
  return openDialog(
    ({ close }) => html`<h2>Another user changed this record</h2>
      <p>It was changed while you were editing. Which version should be kept?</p>
      <table class="list">
        <thead><tr><th>Field</th><th>Now on the server</th><th>Yours</th></tr></thead>
        <tbody>
          ${clashes.map(
            (name) => html`<tr key=${name}>
              <td>${words(name)}</td>
              <td><del>${text(name, now[name])}</del></td>
              <td><ins>${text(name, changes[name])}</ins></td>
            </tr>`,
          )}
        </tbody>
      </table>
      <div class="actions">
        <button autofocus onClick=${() => close(false)}>Keep the server's</button>
        <button class="primary" onClick=${() => close(true)}>Save mine</button>
      </div>`,
    { label: 'Conflict', wide: true },
  );
}
