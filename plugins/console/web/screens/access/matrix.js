/** What a role may do: tables by actions, fields with rights of their own, and other permissions. */
import { html, useEffect, useState } from '../../core/kit.js';
import { patch, remove, url } from '../../core/api.js';
import { confirm, useUnsaved } from '../../core/dialogs.js';
import { leave } from '../../core/router.js';
import { toWords } from '../../core/store.js';
import { ErrorBox, Input, attempt, icon, toast } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import {
  ACTIONS,
  FIELD_RIGHTS,
  changeLevel,
  collectInherited,
  findLevel,
  holdsTable,
  isSameSet,
  listGuardedFields,
  listTableKeys,
} from './rights.js';

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
  return html`<div class="scrollx">
    <table class="list matrix">
      <thead>
        <tr>
          <th>Table</th>
          ${ACTIONS.map((action) => html`<th key=${action}>${action}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${entities.map((entity) => html`<${TableRows} key=${entity.name} entity=${entity} rights=${rights} />`)}
      </tbody>
    </table>
  </div>`;
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
