/** What a role may do: tables by actions, fields with rights of their own, and other permissions. */
import { html, useEffect, useState } from '../../core/kit.js';
import { patch, remove, url } from '../../core/api.js';
import { go } from '../../core/router.js';
import { words } from '../../core/store.js';
import { ErrorBox, confirm, fail, icon, toast } from '../../core/ui.js';

const ACTIONS = ['create', 'read', 'update', 'delete'];
/** The columns of a field with rights of its own: the action of the table, and its own right. */
const RIGHTS = [
  ['read', 'read'],
  ['update', 'write'],
];

/** What the roles that a role inherits from hold, and their names. */
function inherited(role, roles) {
  const [seen, waiting, found] = [new Set([role.name]), [...role.inherits], new Set()];
  while (waiting.length) {
    const name = waiting.pop();
    const parent = roles.find((r) => r.name === name);
    if (!parent || seen.has(name)) continue;
    seen.add(name);
    parent.permissions.forEach((p) => found.add(p));
    waiting.push(...parent.inherits);
  }
  return { from: found, names: seen };
}

/** 'all', 'own', or '' for an action of a table. */
const level = (held, entity, action) =>
  held.has('*') || held.has(`${entity}.*`) || held.has(`${entity}.${action}`)
    ? 'all'
    : held.has(`${entity}.${action}.own`)
      ? 'own'
      : '';

export function Matrix({ appId, role, roles, keys, entities, editable, reload }) {
  const [held, setHeld] = useState(new Set(role.permissions));
  const [parents, setParents] = useState(role.inherits);
  const [text, setText] = useState(role.description ?? '');
  const [error, setError] = useState(null);
  useEffect(() => {
    setHeld(new Set(role.permissions));
    setParents(role.inherits);
  }, [role]);
  const { from, names } = inherited({ ...role, inherits: parents }, roles);
  const guarded = (e) => e.fields.filter((f) => f.access);
  const keysOf = (e) =>
    guarded(e).flatMap((f) => RIGHTS.map(([, r]) => `${e.name}.${f.name}.${r}`));
  const generated = new Set(
    entities.flatMap((e) => [...ACTIONS.map((a) => `${e.name}.${a}`), ...keysOf(e)]),
  );
  const others = keys.filter((k) => !generated.has(k.key));
  const put = (entity, action, value) => {
    const next = new Set(held);
    if (next.delete('*')) keys.forEach((k) => next.add(k.key));
    if (next.delete(`${entity}.*`)) ACTIONS.forEach((a) => next.add(`${entity}.${a}`));
    next.delete(`${entity}.${action}`);
    next.delete(`${entity}.${action}.own`);
    if (value) next.add(`${entity}.${action}${value === 'own' ? '.own' : ''}`);
    setHeld(next);
  };
  const toggle = (key) => {
    const next = new Set(held);
    if (!next.delete(key)) next.add(key);
    setHeld(next);
  };
  const changed =
    [...held].sort().join() !== [...role.permissions].sort().join() ||
    parents.join() !== role.inherits.join() ||
    text !== (role.description ?? '');
  const save = async (e) => {
    e.preventDefault();
    try {
      const body =
        role.name === 'admin'
          ? { description: text }
          : { description: text, permissions: [...held], inherits: parents };
      toast((await patch(url`/api/v1/apps/${appId}/roles/${role.name}`, body)).message);
      reload();
    } catch (problem) {
      setError(problem);
    }
  };
  const drop = async () => {
    if (
      !(await confirm(
        `Delete the role ${role.name}?`,
        'Its holders lose what it allows, at once.',
        { yes: 'Delete' },
      ))
    )
      return;
    try {
      await remove(url`/api/v1/apps/${appId}/roles/${role.name}`);
      go(['roles', appId]);
      reload();
    } catch (problem) {
      fail(problem);
    }
  };
  return html`<form class="stack" onSubmit=${save}>
    <label class="field">
      <span>Description</span>
      <input value=${text} disabled=${!editable} onInput=${(e) => setText(e.target.value)} />
    </label>
    ${
      role.name === 'admin' &&
      html`<p class="dim">The admin may do everything. This role cannot be changed.</p>`
    }
    ${
      entities.length > 0 &&
      html`<div class="scrollx">
        <table class="list matrix">
          <thead><tr><th>Table</th>${ACTIONS.map((a) => html`<th key=${a}>${a}</th>`)}</tr></thead>
          <tbody>
            ${entities.map(
              (e) => html`<tr key=${e.name}>
                <th scope="row">${words(e.name)}</th>
                ${ACTIONS.map((a) => {
                  const [mine, given] = [level(held, e.name, a), level(from, e.name, a)];
                  return html`<td key=${a}>
                    <select
                      class=${mine || given}
                      aria-label=${`${e.name} ${a}`}
                      disabled=${!editable}
                      title=${given ? `${given} by inheritance` : ''}
                      onChange=${(ev) => put(e.name, a, ev.target.value)}
                    >
                      ${[
                        ['', given ? `(${given})` : '–'],
                        ...(a === 'create' ? [] : [['own', 'own']]),
                        ['all', 'all'],
                      ].map(
                        ([v, said]) => html`<option key=${v} value=${v} selected=${mine === v}>
                          ${said}
                        </option>`,
                      )}
                    </select>
                  </td>`;
                })}
              </tr>
              ${guarded(e).map(
                (f) => html`<${FieldRow}
                  key=${f.name}
                  entity=${e}
                  field=${f}
                  names=${names}
                  held=${held}
                  from=${from}
                  editable=${editable}
                  toggle=${toggle}
                />`,
              )}`,
            )}
          </tbody>
        </table>
      </div>`
    }
    ${
      others.length > 0 &&
      html`<fieldset class="group">
        <legend>Other permissions</legend>
        ${others.map(
          (k) => html`<label class="field line" key=${k.key}>
            <input
              type="checkbox"
              disabled=${!editable}
              checked=${held.has(k.key) || held.has('*') || from.has(k.key)}
              onChange=${() => toggle(k.key)}
            />
            <code>${k.key}</code>
            <span class="dim">${k.description}</span>
          </label>`,
        )}
      </fieldset>`
    }
    ${
      roles.some((r) => r !== role && r.name !== 'admin') &&
      role.name !== 'admin' &&
      html`<fieldset class="group">
        <legend>Inherits from</legend>
        <div class="row">
          ${roles
            .filter((r) => r !== role && r.name !== 'admin')
            .map(
              (r) => html`<label class="field line" key=${r.name}>
                <input
                  type="checkbox"
                  disabled=${!editable}
                  checked=${parents.includes(r.name)}
                  onChange=${(e) =>
                    setParents(
                      e.target.checked ? [...parents, r.name] : parents.filter((p) => p !== r.name),
                    )}
                />
                ${r.name}
              </label>`,
            )}
        </div>
      </fieldset>`
    }
    <${ErrorBox} error=${error} />
    ${
      editable &&
      html`<div class="row">
        <button class="primary" disabled=${!changed}>Save</button>
        <span class="grow" />
        <button type="button" class="quiet" onClick=${drop}>${icon('trash')}Delete the role</button>
      </div>`
    }
  </form>`;
}

/** A field with rights of its own: without them it does not exist for the role's holders. */
function FieldRow({ entity, field, names, held, from, editable, toggle }) {
  return html`<tr class="fieldrow">
    <th scope="row">${words(field.name)}</th>
    ${ACTIONS.map((action) => {
      const right = RIGHTS.find(([a]) => a === action)?.[1];
      if (!right) return html`<td key=${action} />`;
      const key = `${entity.name}.${field.name}.${right}`;
      const named = field.access[right]?.some((name) => names.has(name));
      const all = held.has('*') || held.has(`${entity.name}.*`) || from.has(key) || named;
      const free = !field.access[right];
      return html`<td key=${action}>
        ${
          free
            ? html`<span class="dim">as the table</span>`
            : html`<input
                type="checkbox"
                aria-label=${key}
                title=${named ? 'The manifest names this role, or one that it inherits from.' : ''}
                disabled=${!editable || all}
                checked=${all || held.has(key)}
                onChange=${() => toggle(key)}
              />`
        }
      </td>`;
    })}
  </tr>`;
}
