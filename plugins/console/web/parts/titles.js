/** How a record is called where only a line is shown: in links, lists and search. */
import { get, post, url } from '../core/api.js';
import { describe, may, users } from '../core/store.js';

const NAMES = [
  'name',
  'title',
  'subject',
  'label',
  'display_name',
  'full_name',
  'username',
  'email',
  'code',
  'number',
  'slug',
];

/** Fields that make a record's title, best first. */
export function titleFields(entity) {
  const texts = entity.fields.filter((f) => f.type === 'text').map((f) => f.name);
  if (texts.includes('first_name') && texts.includes('last_name'))
    return ['first_name', 'last_name'];
  const known = NAMES.find((name) => texts.includes(name));
  const part = texts.find((name) => /(^|_)(name|title)$/.test(name));
  return [known ?? part ?? texts[0]].filter(Boolean);
}

export function titleOf(entity, row) {
  const text = titleFields(entity)
    .map((f) => row[f])
    .filter((v) => v !== null && v !== undefined && v !== '')
    .join(' ');
  return text ? text.slice(0, 120) : String(row.id).slice(0, 8);
}

const titles = new Map();

/** Forget a title: the record was changed. */
export const forgetTitle = (appId, target, id) => titles.delete(`${appId}.${target}.${id}`);

/**
 * Titles of linked records by id, in one request for a page of rows.
 * @returns {Promise<Record<string, string>>}
 */
export async function titlesOf(appId, target, ids) {
  const key = (id) => `${appId}.${target}.${id}`;
  const wanted = [...new Set(ids)].filter((id) => id && !titles.has(key(id)));
  if (target === 'core:users') {
    for (const u of await users()) titles.set(key(u.id), u.display_name || u.username);
  } else if (wanted.length && may(appId, target, 'read')) {
    const entity = (await describe(appId)).entities.find((e) => e.name === target);
    const reply = await post(url`/api/v1/apps/${appId}/collections/${target}/query`, {
      where: { id: { $in: wanted.slice(0, 900) } },
      limit: 1000,
      total: false,
    });
    for (const row of reply.data) titles.set(key(row.id), titleOf(entity, row));
  }
  return Object.fromEntries(
    ids.filter(Boolean).map((id) => [id, titles.get(key(id)) ?? String(id).slice(0, 8)]),
  );
}

const UUID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/i;

/** What a query has to ask for a text: an id, the server's search, or a part of the title. */
function lookFor(entity, text) {
  if (!text) return {};
  if (UUID.test(text) && entity.id_type === 'uuid') return { where: { id: text } };
  if (entity.search) return { search: text };
  const like = { $ilike: `%${text.replace(/[%_\\]/g, '\\$&')}%` };
  const fields = titleFields(entity);
  return fields.length ? { where: { $or: fields.map((f) => ({ [f]: like })) } } : null;
}

/** Find records of a table by a text. @returns {Promise<{id: string, title: string}[]>} */
export async function findRecords(appId, target, text, signal, limit = 20) {
  if (target === 'core:users') {
    const all = await get('/api/v1/users', null, { signal });
    const low = text.toLowerCase();
    return all
      .filter((u) => `${u.username} ${u.display_name ?? ''}`.toLowerCase().includes(low))
      .slice(0, limit)
      .map((u) => ({ id: u.id, title: u.display_name || u.username }));
  }
  const entity = (await describe(appId)).entities.find((e) => e.name === target);
  const query = lookFor(entity, text);
  if (!query) return [];
  const path = url`/api/v1/apps/${appId}/collections/${target}/query`;
  const reply = await post(path, { ...query, limit, total: false }, { signal });
  return reply.data.map((row) => ({ id: row.id, title: titleOf(entity, row) }));
}
