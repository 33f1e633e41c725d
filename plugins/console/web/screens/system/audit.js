/** The audit trail: who changed what, with a diff, and everything of one request. */
import { html, useState } from '../../core/kit.js';
import { get } from '../../core/api.js';
import { A, setQuery } from '../../core/router.js';
import { admin, apps, findApp, users, words } from '../../core/store.js';
import { Ago, Empty, Head, Loaded, Typed, fail, icon, useLoad, CopyAs } from '../../core/ui.js';
import { Diff } from '../record/history.js';
import { same } from '../../parts/values.js';

const COLOURS = {
  INSERT: 'good',
  UPDATE: 'info',
  DELETE: 'bad',
  TRUNCATE: 'bad',
  LOGIN_FAILED: 'bad',
};

export default function Audit({ query }) {
  const own = apps.value.filter((a) => a.admin);
  const wanted = {
    app_id: query.app ?? (admin.value ? undefined : own[0]?.id),
    entity: query.entity,
    record_id: query.record,
    operation: query.operation,
    actor_id: query.actor,
    request_id: query.request,
    limit: 100,
  };
  const [older, setOlder] = useState([]);
  const rows = useLoad(async () => {
    setOlder([]);
    const [found, people] = await Promise.all([get('/api/v1/audit', wanted), users()]);
    return {
      found,
      names: Object.fromEntries(people.map((u) => [u.id, u.display_name || u.username])),
      people,
    };
  }, [JSON.stringify(wanted)]);
  const put = (name) => (e) => setQuery({ [name]: e.target.value || null });
  const more = async (last) => {
    try {
      setOlder([...older, ...(await get('/api/v1/audit', { ...wanted, before: last }))]);
    } catch (error) {
      fail(error);
    }
  };
  const entities =
    query.app === 'core'
      ? ['users', 'sessions', 'roles', 'role_assignments', 'apps', 'secrets']
      : (findApp(wanted.app_id)?.entities ?? []);
  const pick = (label, name, options) => html`<select aria-label=${label} onChange=${put(name)}>
    <option value="">${label}: all</option>
    ${options.map(
      ([v, title]) => html`<option key=${v} value=${v} selected=${query[name] === v}>
        ${title}
      </option>`,
    )}
  </select>`;
  return html`<${Head}
      title="Audit"
      sub="Written by the database itself, whatever made the change; nothing can be altered or removed."
    >
      <${CopyAs} request=${{ method: 'GET', path: '/api/v1/audit', query: wanted }} />
    <//>
    <div class="row filters">
      ${pick('App', 'app', [
        ...(admin.value ? [['core', 'This server']] : []),
        ...(admin.value ? apps.value : own).map((a) => [a.id, a.name]),
      ])}
      ${
        entities.length > 0 &&
        pick(
          'Table',
          'entity',
          entities.map((e) => [e, words(e)]),
        )
      }
      ${pick(
        'Operation',
        'operation',
        [
          'INSERT',
          'UPDATE',
          'DELETE',
          'LOGIN',
          'LOGIN_FAILED',
          'ROLE_ASSIGNED',
          'ROLE_REVOKED',
          'APP_INSTALLED',
          'APP_UPDATED',
          'SECRET_SET',
          'DEPLOYED',
        ].map((o) => [o, o.toLowerCase().replaceAll('_', ' ')]),
      )}
      ${
        rows.data &&
        pick(
          'By',
          'actor',
          rows.data.people.map((u) => [u.id, u.display_name || u.username]),
        )
      }
      <${Typed}
        aria-label="Record id"
        placeholder="Record id"
        value=${query.record}
        change=${(record) => setQuery({ record })}
      />
      ${
        query.request &&
        html`<span class="tag info">
          request ${query.request.slice(0, 8)} <button
            class="link"
            aria-label="All requests"
            onClick=${() => setQuery({ request: null })}
          >
            ${icon('x')}
          </button>
        </span>`
      }
    </div>
    <${Loaded} of=${rows}>
      ${({ found, names }) => {
        const all = [...found, ...older];
        return html`${
          all.length
            ? html`<ol class="plain trail">
              ${all.map((r) => html`<${Row} key=${r.id} row=${r} name=${names[r.actor_id]} />`)}
            </ol>`
            : html`<${Empty} title="Nothing is recorded" glyph="audit">
              No row of the trail fits.
            <//>`
        }
          ${
            found.length === wanted.limit &&
            html`<button onClick=${() => more([...found, ...older].pop().id)}>Older</button>`
          }`;
      }}
    <//>`;
}

function Row({ row, name }) {
  const [open, set] = useState(false);
  const [before, after] = [row.old_record ?? {}, row.new_record ?? {}];
  const changes = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((f) => !['updated_at', 'created_at', 'id'].includes(f) && !same(before[f], after[f]))
    .map((f) => [f, [before[f], after[f]]]);
  const known = findApp(row.table_schema);
  const where =
    known && row.operation !== 'DELETE'
      ? html`<${A} to=${['record', row.table_schema, row.table_name, row.record_id]}>
        ${row.table_schema}.${row.table_name}
      <//>`
      : html`<span>${row.table_schema}.${row.table_name}</span>`;
  return html`<li>
    <div class="row">
      <button
        class="quiet icon small"
        aria-expanded=${open}
        aria-label="Show the change"
        onClick=${() => set(!open)}
      >
        ${icon(open ? 'down' : 'right')}
      </button>
      <span class="tag ${COLOURS[row.operation] ?? ''}">
        ${row.operation.toLowerCase().replaceAll('_', ' ')}
      </span>
      ${where}
      <span class="dim cut grow">${changes
        .slice(0, 6)
        .map(([f]) => f)
        .join(', ')}</span>
      <span>
        ${name ?? html`<span class="dim">${row.actor_id ? 'a former user' : 'the server'}</span>`}
      </span>
      <span class="dim nowrap"><${Ago} at=${row.changed_at} /></span>
    </div>
    ${
      open &&
      html`<div class="inner">
        <${Diff} changes=${changes} />
        <small>
          #${row.id} · ${row.changed_at} · record <code>${row.record_id}</code>
          ${
            row.request_id &&
            html` · <button class="link" onClick=${() => setQuery({ request: row.request_id })}>
                request ${row.request_id}
              </button>`
          }
        </small>
      </div>`
    }
  </li>`;
}
