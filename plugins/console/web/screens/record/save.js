/** Saving changes of a record without losing another user's. */
import { html } from '../../core/kit.js';
import { api, get, url } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { toWords } from '../../core/store.js';
import { forgetTitle } from '../../parts/titles.js';
import { isSame, toText } from '../../parts/values.js';

/** Load a record with its entity tag. */
export async function loadRecord(path, signal) {
  const { body, headers } = await get(path, null, { full: true, signal });
  return { ...body, _etag: headers.get('etag') };
}

/**
 * Save `changes` of a record that was read as `record`. The server refuses them where the record
 * is no longer what its entity tag says. Where another user has changed one of the same fields, both
 * versions are shown and the user decides; changes of other fields are no conflict. Returns the
 * record with its tag and the id of the request, or null where the user kept the other version.
 */
export async function saveRecord(appId, entity, record, changes) {
  const path = url`/api/v1/apps/${appId}/collections/${entity.name}/${record.id}`;
  let base = record;
  for (;;) {
    try {
      const saved = await send(path, base, changes);
      forgetTitle(appId, entity.name, record.id);
      return saved;
    } catch (error) {
      if (error.status !== 412) throw error;
    }
    const current = await loadRecord(path);
    const clashes = findClashes(base, current, changes);
    if (clashes.length) {
      const isMine = await askWhich(entity, current, changes, clashes);
      if (!isMine) return null;
    }
    base = current;
  }
}

async function send(path, base, changes) {
  const headers = base._etag ? { 'if-match': base._etag } : {};
  const saved = await api('PATCH', path, { body: changes, headers, full: true });
  const marks = { _etag: saved.headers.get('etag'), _request: saved.requestId };
  return { ...base, ...saved.body, ...marks };
}

/** Fields that another user has changed since, and not to the same value. */
function findClashes(base, current, changes) {
  const names = Object.keys(changes);
  return names.filter((name) => {
    const isChanged = !isSame(current[name], base[name]);
    return isChanged && !isSame(current[name], changes[name]);
  });
}

function askWhich(entity, current, changes, clashes) {
  const content = ({ close }) => html`<${Conflict}
    entity=${entity}
    current=${current}
    changes=${changes}
    clashes=${clashes}
    close=${close}
  />`;
  return openDialog(content, { label: 'Conflict', wide: true });
}

function Conflict({ entity, current, changes, clashes, close }) {
  const write = (name, value) => {
    const field = entity.fields.find((candidate) => candidate.name === name) ?? {};
    return toText(field, value) || '–';
  };
  return html`<h2>Another user changed this record</h2>
    <p>It was changed while you were editing. Which version should be kept?</p>
    <table class="list">
      <thead>
        <tr><th>Field</th><th>Now on the server</th><th>Yours</th></tr>
      </thead>
      <tbody>
        ${clashes.map(
          (name) => html`<tr key=${name}>
            <td>${toWords(name)}</td>
            <td><del>${write(name, current[name])}</del></td>
            <td><ins>${write(name, changes[name])}</ins></td>
          </tr>`,
        )}
      </tbody>
    </table>
    <div class="actions">
      <button autofocus onClick=${() => close(false)}>Keep the server's</button>
      <button class="primary" onClick=${() => close(true)}>Save mine</button>
    </div>`;
}
