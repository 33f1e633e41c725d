/** What a role holds: permissions of tables and fields, its own and those that it inherits. */

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
