/** The changes of a record: who, when, by which request, and what was there before. */
import { html, useState } from '../../core/kit.js';
import { get } from '../../core/api.js';
import { A } from '../../core/router.js';
import { admin, users, words } from '../../core/store.js';
import { Ago, Loaded, useLoad } from '../../core/ui.js';
import { stringify } from '../../core/json.js';

const PAGE = 20;
const OPERATIONS = { INSERT: 'created', UPDATE: 'changed', DELETE: 'deleted' };

export function History({ path, round }) {
  const [more, setMore] = useState([]);
  const [full, setFull] = useState(false);
  const first = useLoad(async () => {
    setMore([]);
    const [entries, people] = await Promise.all([get(`${path}/history`, { limit: PAGE }), users()]);
    setFull(entries.length === PAGE);
    return {
      entries,
      names: Object.fromEntries(people.map((u) => [u.id, u.display_name || u.username])),
    };
  }, [path, round]);
  const next = async (last) => {
    const entries = await get(`${path}/history`, { limit: PAGE, before: last });
    setMore([...more, ...entries]);
    setFull(entries.length === PAGE);
  };
  if (first.error?.status === 404) return null; // the plugin audit is off
  return html`<section class="card side-card">
    <h2>History</h2>
    <${Loaded} of=${first}>
      ${({ entries, names }) => {
        const all = [...entries, ...more];
        return html`<ol class="plain history">
            ${all.map(
              (e) => html`<li key=${e.id}><${Entry} entry=${e} name=${names[e.actor]} /></li>`,
            )}
          </ol>
          ${!all.length && html`<p class="dim">Nothing is recorded.</p>`}
          ${
            full &&
            html`<button class="small" onClick=${() => next(all[all.length - 1].id)}>Older</button>`
          }`;
      }}
    <//>
  </section>`;
}

function Entry({ entry, name }) {
  const changes = Object.entries(entry.changes);
  return html`<div class="row">
      <b>${name ?? (entry.actor ? `User ${entry.actor.slice(0, 8)}` : 'The server')}</b>
      <span class="dim">
        ${OPERATIONS[entry.operation] ?? entry.operation} <${Ago} at=${entry.at} />
      </span>
    </div>
    ${
      entry.operation === 'INSERT'
        ? html`<details>
          <summary class="dim">${changes.length} fields</summary>
          <${Diff} changes=${changes} />
        </details>`
        : html`<${Diff} changes=${changes} />`
    }
    ${
      entry.request &&
      html`<small>
        ${
          admin.value
            ? html`<${A} to=${['audit']} query=${{ request: entry.request }}>
              request ${entry.request.slice(0, 8)}
            <//>`
            : html`request <code>${entry.request.slice(0, 8)}</code>`
        }
      </small>`
    }`;
}

export const Diff = ({ changes }) => html`<div class="diff">
  ${changes.map(
    ([field, [before, after]]) => html`<span class="dim">${words(field)}</span>
      <span>
        ${shown(before) && html`<del>${shown(before)}</del>`} ${
          shown(after) && html`<ins>${shown(after)}</ins>`
        }
      </span>`,
  )}
</div>`;

function shown(value) {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' ? value : stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
