/** What a role may do: tables by actions, fields with rights of their own, and other permissions. */
import { html, useEffect, useState } from '../../core/kit.js';
import { patch, remove, url } from '../../core/api.js';
import { confirm, useUnsaved } from '../../core/dialogs.js';
import { leave } from '../../core/router.js';
import { Listing } from '../../core/screen.js';
import { toWords } from '../../core/store.js';
import { ErrorBox, Input, attempt, icon, toast } from '../../core/ui.js';
import { Options } from '../../form/control.js';

/** The same set with a key that was not in it, or without one that was. */
function toggleKey(keys, key) {
  const changed = new Set(keys);
  if (!changed.delete(key)) changed.add(key);
  return changed;
}

/**
 * @param {{appId: string, role: any, roles: any[], keys: any[], entities: any[],
 *   editable: boolean, reload: () => void}} props
 */
export function Matrix({ appId, role, roles, keys, entities, editable, reload }) {
  const [held, setHeld] = useState(new Set(role.permissions));
  const [parents, setParents] = useState(role.inherits);
  const [text, setText] = useState(role.description ?? '');
  const [error, setError] = useState(null);
  useEffect(() => {
    setHeld(new Set(role.permissions));
    setParents(role.inherits);
  }, [role]);
  const inherited = collectInherited({ ...role, inherits: parents }, roles);
  const isAdmin = role.name === 'admin';
  const isSame =
    isSameSet(held, role.permissions) &&
    parents.join() === role.inherits.join() &&
    text === (role.description ?? '');
  useUnsaved(!isSame);
  const path = url`/api/v1/apps/${appId}/roles/${role.name}`;
  const save = async (event) => {
    event.preventDefault();
    const rights = { permissions: [...held], inherits: parents };
    try {
      const reply = await patch(path, { description: text, ...(isAdmin ? {} : rights) });
      toast(reply.message);
      reload();
    } catch (problem) {
      setError(problem);
    }
  };
  const drop = async () => {
    const consequence = 'Its holders lose what it allows, at once.';
    const isSure = await confirm(`Delete the role ${role.name}?`, consequence, { yes: 'Delete' });
    if (!isSure) return;
    await attempt(async () => {
      await remove(path);
      leave(['roles', appId]);
      reload();
    });
  };
  const setLevel = (entity, action, level) => {
    const allKeys = keys.map(({ key }) => key);
    setHeld(changeLevel(held, entity, action, level, allKeys));
  };
  const toggle = (key) => setHeld(toggleKey(held, key));
  const rights = { held, inherited, editable, setLevel, toggle };
  return html`<form class="stack" onSubmit=${save}>
    <${Input}
      title="Description"
      value=${text}
      disabled=${!editable}
      onInput=${(event) => setText(event.target.value)}
    />
    ${isAdmin && html`<p class="dim">The admin may do everything. This role cannot be changed.</p>`}
    ${entities.length > 0 && html`<${Tables} entities=${entities} rights=${rights} />`}
    <${OtherKeys} entities=${entities} keys=${keys} rights=${rights} />
    ${
      !isAdmin &&
      html`<${Parents}
        role=${role}
        roles=${roles}
        parents=${parents}
        setParents=${setParents}
        editable=${editable}
      />`
    }
    <${ErrorBox} error=${error} />
    ${
      editable &&
      html`<div class="row">
        <button class="primary" disabled=${isSame}>Save</button>
        <span class="grow" />
        <button type="button" class="quiet" onClick=${drop}>${icon('trash')}Delete the role</button>
      </div>`
    }
  </form>`;
}

function Tables({ entities, rights }) {
  return html`<${Listing} heads=${['Table', ...ACTIONS]} look="matrix" tabindex="0">
    ${entities.map((entity) => html`<${TableRows} key=${entity.name} entity=${entity} rights=${rights} />`)}
  <//>`;
}

const TableRows = ({ entity, rights }) => html`<tr>
    <th scope="row">${toWords(entity.name)}</th>
    ${ACTIONS.map(
      (action) => html`<td key=${action}>
        <${Level} entity=${entity.name} action=${action} rights=${rights} />
      </td>`,
    )}
  </tr>
  ${listGuardedFields(entity).map(
    (field) =>
      html`<${FieldRow} key=${field.name} entity=${entity} field=${field} rights=${rights} />`,
  )}`;

/** The level of one action of a table, to choose. */
function Level({ entity, action, rights }) {
  const { held, inherited, editable, setLevel } = rights;
  const level = findLevel(held, entity, action);
  const inheritedLevel = findLevel(inherited.permissions, entity, action);
  const blank = ['', inheritedLevel ? `(${inheritedLevel})` : '–'];
  // A record that is created has no owner yet.
  const choices = action === 'create' ? [blank, 'all'] : [blank, 'own', 'all'];
  return html`<select
    class=${level || inheritedLevel}
    aria-label=${`${entity} ${action}`}
    disabled=${!editable}
    title=${inheritedLevel ? `${inheritedLevel} by inheritance` : ''}
    onChange=${(event) => setLevel(entity, action, event.target.value)}
  >
    <${Options} choices=${choices} chosen=${level} />
  </select>`;
}

/** A field with rights of its own: without them it does not exist for the role's holders. */
const FieldRow = ({ entity, field, rights }) => html`<tr class="fieldrow">
  <th scope="row">${toWords(field.name)}</th>
  ${ACTIONS.map(
    (action) => html`<td key=${action}>
      <${FieldRight}
        entity=${entity.name}
        field=${field}
        right=${FIELD_RIGHTS[action]}
        rights=${rights}
      />
    </td>`,
  )}
</tr>`;

function FieldRight({ entity, field, right, rights }) {
  const { held, inherited, editable, toggle } = rights;
  if (!right) return null;
  const allowedRoles = field.access[right];
  if (!allowedRoles) return html`<span class="dim">as the table</span>`;
  const key = `${entity}.${field.name}.${right}`;
  const isNamed = allowedRoles.some((name) => inherited.names.has(name));
  const isGiven = holdsTable(held, entity) || inherited.permissions.has(key) || isNamed;
  return html`<input
    type="checkbox"
    aria-label=${key}
    title=${isNamed ? 'The manifest names this role, or one that it inherits from.' : ''}
    disabled=${!editable || isGiven}
    checked=${isGiven || held.has(key)}
    onChange=${() => toggle(key)}
  />`;
}

/** Permissions that are about no table. */
function OtherKeys({ entities, keys, rights }) {
  const { held, inherited, editable, toggle } = rights;
  const ofTables = listTableKeys(entities);
  const others = keys.filter(({ key }) => !ofTables.has(key));
  if (!others.length) return null;
  const isHeld = (key) => held.has(key) || held.has('*') || inherited.permissions.has(key);
  return html`<fieldset class="group">
    <legend>Other permissions</legend>
    ${others.map(
      ({ key, description }) => html`<label class="field line" key=${key}>
        <input
          type="checkbox"
          disabled=${!editable}
          checked=${isHeld(key)}
          onChange=${() => toggle(key)}
        />
        <code>${key}</code>
        <span class="dim">${description}</span>
      </label>`,
    )}
  </fieldset>`;
}

function Parents({ role, roles, parents, setParents, editable }) {
  const others = roles.filter((candidate) => candidate !== role && candidate.name !== 'admin');
  if (!others.length) return null;
  return html`<fieldset class="group">
    <legend>Inherits from</legend>
    <div class="row">
      ${others.map(
        ({ name }) => html`<label class="field line" key=${name}>
          <input
            type="checkbox"
            disabled=${!editable}
            checked=${parents.includes(name)}
            onChange=${() => setParents([...toggleKey(parents, name)])}
          />
          ${name}
        </label>`,
      )}
    </div>
  </fieldset>`;
}

export const ACTIONS = ['create', 'read', 'update', 'delete'];
/** The right of a field that is in the column of an action. */
export const FIELD_RIGHTS = { read: 'read', update: 'write' };

/** The fields of an entity that have rights of their own. */
export const listGuardedFields = (entity) => entity.fields.filter((field) => field.access);

/** What the roles that a role inherits from hold, and the names of it and of them. */
export function collectInherited(role, roles) {
  const names = new Set([role.name]);
  const permissions = new Set();
  const waiting = [...role.inherits];
  while (waiting.length) {
    const name = waiting.pop();
    const parent = roles.find((candidate) => candidate.name === name);
    if (!parent || names.has(name)) continue;
    names.add(name);
    parent.permissions.forEach((key) => permissions.add(key));
    waiting.push(...parent.inherits);
  }
  return { permissions, names };
}

/** Whether permissions hold everything on a table. */
export const holdsTable = (held, entity) => held.has('*') || held.has(`${entity}.*`);

/** 'all', 'own', or '' for an action of a table. */
export function findLevel(held, entity, action) {
  const key = `${entity}.${action}`;
  if (holdsTable(held, entity) || held.has(key)) return 'all';
  return held.has(`${key}.own`) ? 'own' : '';
}

/** The same permissions with another level of an action; a wildcard is spelled out. */
export function changeLevel(held, entity, action, level, allKeys) {
  const changed = new Set(held);
  const key = `${entity}.${action}`;
  if (changed.delete('*')) allKeys.forEach((each) => changed.add(each));
  if (changed.delete(`${entity}.*`)) ACTIONS.forEach((name) => changed.add(`${entity}.${name}`));
  changed.delete(key);
  changed.delete(`${key}.own`);
  if (level) changed.add(level === 'own' ? `${key}.own` : key);
  return changed;
}

/** Keys of permissions that the table of tables and fields shows. */
export function listTableKeys(entities) {
  const keys = entities.flatMap((entity) => {
    const actions = ACTIONS.map((action) => `${entity.name}.${action}`);
    const fields = listGuardedFields(entity).flatMap((field) =>
      Object.values(FIELD_RIGHTS).map((right) => `${entity.name}.${field.name}.${right}`),
    );
    return [...actions, ...fields];
  });
  return new Set(keys);
}

/** Whether two sets of texts, or lists in any order, hold the same. */
export const isSameSet = (left, right) => [...left].sort().join() === [...right].sort().join();
