/** The changes of a record: who, when, by which request, and what was there before. */
import { html, useState } from '../../core/kit.js';
import { get } from '../../core/api.js';
import { stringify } from '../../core/json.js';
import { A } from '../../core/router.js';
import { Ago } from '../../core/screen.js';
import { features, loadUsers, may, mayReadTrail, nameAccounts, toWords } from '../../core/store.js';
import { Loaded, fail, useLoad } from '../../core/ui.js';
import { shortenId } from '../../parts/titles.js';
import { hasUndo, openUndo } from '../../parts/undo.js';

const PAGE = 20;
const LONGEST = 300;
const OPERATIONS = { INSERT: 'created', UPDATE: 'changed', DELETE: 'deleted' };

/**
 * @param {{appId: string, entity: any, id: string, path: string, round: number,
 *   reload: () => void}} props Another `round` loads it again; `reload` loads the record, too.
 */
export function History({ appId, entity, id, path, round, reload }) {
  const [older, setOlder] = useState([]);
  const [hasMore, setHasMore] = useState(false);
  const loadPage = async (before) => {
    const entries = await get(`${path}/history`, { limit: PAGE, before });
    setHasMore(entries.length === PAGE);
    return entries;
  };
  const newest = useLoad(async () => {
    setOlder([]);
    const [entries, accounts] = await Promise.all([loadPage(), loadUsers()]);
    return { entries, names: nameAccounts(accounts) };
  }, [path, round]);
  const addOlder = async (last) => {
    try {
      setOlder([...older, ...(await loadPage(last.id))]);
    } catch (error) {
      fail(error);
    }
  };
  const isOff = newest.error?.status === 404; // the plugin audit
  if (isOff) return null;
  return html`<section class="card side-card">
    <h2>History</h2>
    <${Loaded} of=${newest}>
      ${({ entries, names }) => {
        const listed = [...entries, ...older];
        if (!listed.length) return html`<p class="dim">Nothing is recorded.</p>`;
        const goOn = () => addOlder(listed.at(-1));
        return html`<ol class="plain history">
            ${listed.map(
              (entry, index) => html`<li key=${entry.id}>
                <${Entry} entry=${entry} name=${names[entry.actor]} appId=${appId} />
                <${Actions}
                  appId=${appId}
                  record=${{ entity: entity.name, id }}
                  entry=${entry}
                  isLast=${index === 0}
                  reload=${reload}
                />
              </li>`,
            )}
          </ol>
          ${hasMore && html`<button class="small" onClick=${goOn}>Older</button>`}`;
      }}
    <//>
  </section>`;
}

/** Taking back the request of a change, and going back to how the record was after it. */
function Actions({ appId, record, entry, isLast, reload }) {
  if (!hasUndo() || !may(appId, record.entity, 'update')) return null;
  const undoIt = () =>
    openUndo(appId, { request: entry.request }, { done: reload, title: 'Undo this request' });
  const goBack = () =>
    openUndo(appId, { record, to: entry.at }, { done: reload, title: 'Go back to this version' });
  return html`<div class="row">
    ${entry.request && html`<button class="link" onClick=${undoIt}>Undo</button>`}
    ${!isLast && html`<button class="link" onClick=${goBack}>Go back to this</button>`}
  </div>`;
}

function Entry({ entry, name, appId }) {
  const changes = Object.entries(entry.changes);
  const unnamed = entry.actor ? `User ${shortenId(entry.actor)}` : 'The server';
  const diff = html`<${Diff} changes=${changes} />`;
  const isNew = entry.operation === 'INSERT';
  return html`<div class="row">
      <b>${name ?? unnamed}</b>
      <span class="dim">
        ${OPERATIONS[entry.operation] ?? entry.operation} <${Ago} at=${entry.at} />
      </span>
    </div>
    ${
      isNew
        ? html`<details><summary class="dim">${changes.length} fields</summary>${diff}</details>`
        : diff
    }
    ${entry.request && html`<small><${Request} id=${entry.request} appId=${appId} /></small>`}`;
}

/** The request of a change; who may read the trail follows it there. */
function Request({ id, appId }) {
  const text = shortenId(id);
  if (!mayReadTrail(appId)) return html`request <code>${text}</code>`;
  if (features.value.has('trace')) return html`<${A} to=${['requests', id]}>request ${text}<//>`;
  return html`<${A} to=${['audit']} query=${{ app: appId, request: id }}>request ${text}<//>`;
}

/** @param {{changes: [field: string, [before: any, after: any]][]}} props */
export const Diff = ({ changes }) => html`<div class="diff">
  ${changes.map(([field, [before, after]]) => {
    const removed = cutText(before);
    const added = cutText(after);
    return html`<span class="dim">${toWords(field)}</span>
      <span>${removed && html`<del>${removed}</del>`} ${added && html`<ins>${added}</ins>`}</span>`;
  })}
</div>`;

function cutText(value) {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' ? value : stringify(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
