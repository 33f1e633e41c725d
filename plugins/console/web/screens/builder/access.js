/** Who may see and change a table, in four plain choices: permissions of the role `member`. */
import { html } from '../../core/kit.js';
import { get, patch, post, url } from '../../core/api.js';

const ROLE = 'member';

/** @type {[name: string, title: string, keys: string[]][]} */
const CHOICES = [
  ['all', 'Members see and change all records', ['read', 'create', 'update', 'delete']],
  ['own', 'Members see all and change their own', ['read', 'create', 'update.own', 'delete.own']],
  ['read', 'Members see all, admins change them', ['read']],
  ['admins', 'Admins only', []],
];

/** @param {{chosen: string, change: (name: string) => void}} props */
export function AccessChoice({ chosen, change }) {
  return html`<fieldset class="choices">
    <legend>Who may see and change it?</legend>
    ${CHOICES.map(
      ([name, title]) => html`<label class="row check" key=${name}>
        <input
          type="radio"
          name="access"
          checked=${chosen === name}
          onChange=${() => change(name)}
        />
        ${title}
      </label>`,
    )}
    <small class="dim">Members have the role “${ROLE}” on the app. Each right can be set at Roles.</small>
  </fieldset>`;
}

/** Give the role `member`, which is made if it is missing, what was chosen for tables. */
export async function grantAccess(appId, entities, chosen) {
  const [, , actions] = CHOICES.find(([name]) => name === chosen);
  if (!actions.length) return;
  const keys = entities.flatMap((entity) => actions.map((action) => `${entity}.${action}`));
  const path = url`/api/v1/apps/${appId}/roles`;
  const roles = await get(path);
  const role = roles.find(({ name }) => name === ROLE);
  if (role) {
    const permissions = [...new Set([...role.permissions, ...keys])];
    await patch(url`/api/v1/apps/${appId}/roles/${ROLE}`, { permissions });
  } else {
    const description = 'Works with the records of the app';
    await post(path, { name: ROLE, description, permissions: keys });
  }
}
