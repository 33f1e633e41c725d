/** How a record is called where only a line is shown: in links, lists and search. */
import { get, post, url } from '../core/api.js';
import { findEntity, loadUsers, may, nameAccount } from '../core/store.js';

/** Names of fields that are titles, best first. */
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
const PERSON = ['first_name', 'last_name'];
const LONGEST = 120;
/** Ids in one request. */
const MOST_IDS = 900;
const UUID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/i;

/** The first digits of an id, where no title is known. */
export const shortenId = (id) => String(id).slice(0, 8);

/** Fields that make a record's title, best first. */
export function findTitleFields(entity) {
  const texts = entity.fields.filter((field) => field.type === 'text').map((field) => field.name);
  if (PERSON.every((name) => texts.includes(name))) return PERSON;
  const usual = NAMES.find((name) => texts.includes(name));
  const similar = texts.find((name) => /(^|_)(name|title)$/.test(name));
  const name = usual ?? similar ?? texts[0];
  return name ? [name] : [];
}

export function makeTitle(entity, row) {
  const isFilled = (value) => value !== null && value !== undefined && value !== '';
  const parts = findTitleFields(entity).map((name) => row[name]);
  const text = parts.filter(isFilled).join(' ');
  return text ? text.slice(0, LONGEST) : shortenId(row.id);
}

/** Titles that were loaded, by app, table and id. */
const titles = new Map();
const buildKey = (appId, target, id) => `${appId}.${target}.${id}`;

/** Forget a title: the record was changed. */
export const forgetTitle = (appId, target, id) => titles.delete(buildKey(appId, target, id));

/**
 * Titles of linked records by id, in one request for a page of rows.
 * @returns {Promise<Record<string, string>>}
 */
export async function loadTitlesOf(appId, target, ids) {
  const asked = [...new Set(ids)].filter(Boolean);
  const unknown = asked.filter((id) => !titles.has(buildKey(appId, target, id)));
  if (target === 'core:users') {
    await loadNames(appId);
  } else if (unknown.length && may(appId, target, 'read')) {
    await loadTitles(appId, target, unknown.slice(0, MOST_IDS));
  }
  const titled = asked.map((id) => [id, titles.get(buildKey(appId, target, id)) ?? shortenId(id)]);
  return Object.fromEntries(titled);
}

async function loadNames(appId) {
  for (const account of await loadUsers())
    titles.set(buildKey(appId, 'core:users', account.id), nameAccount(account));
}

async function loadTitles(appId, target, ids) {
  const entity = await findEntity(appId, target);
  const query = { where: { id: { $in: ids } }, limit: 1000, total: false };
  const reply = await post(buildPath(appId, target), query);
  for (const row of reply.data) titles.set(buildKey(appId, target, row.id), makeTitle(entity, row));
}

const buildPath = (appId, target) => url`/api/v1/apps/${appId}/collections/${target}/query`;

/**
 * Titles of the records that rows link to, one request for each field that links; by the names of
 * these fields.
 * @returns {Promise<Record<string, Record<string, string>>>}
 */
export async function loadLinkTitles(appId, entity, rows) {
  const links = entity.fields.filter((field) => field.references);
  const loadOne = async (field) => {
    const ids = rows.map((row) => row[field.name]);
    const loaded = await loadTitlesOf(appId, field.references, ids).catch(() => ({}));
    return [field.name, loaded];
  };
  return Object.fromEntries(await Promise.all(links.map(loadOne)));
}

/** What a query has to ask for a text: an id, the server's search, or a part of the title. */
function buildSearch(entity, text) {
  if (!text) return {};
  if (UUID.test(text) && entity.id_type === 'uuid') return { where: { id: text } };
  if (entity.search) return { search: text };
  const names = findTitleFields(entity);
  if (!names.length) return null;
  const pattern = { $ilike: `%${text.replace(/[%_\\]/g, '\\$&')}%` };
  return { where: { $or: names.map((name) => ({ [name]: pattern })) } };
}

/** Find records of a table by a text. @returns {Promise<{id: string, title: string}[]>} */
export async function findRecords(appId, target, text, signal, limit = 20) {
  if (target === 'core:users') return findUsers(text, signal, limit);
  const entity = await findEntity(appId, target);
  const query = buildSearch(entity, text);
  if (!query) return [];
  const body = { ...query, limit, total: false };
  const reply = await post(buildPath(appId, target), body, { signal });
  return reply.data.map((row) => ({ id: row.id, title: makeTitle(entity, row) }));
}

/** Titles in one request: each may be a condition of its own. */
const MOST_TITLES = 200;

/**
 * The ids of records by their exact titles; several for a title that several records have.
 * @param {string} appId @param {string} target @param {string[]} wanted
 * @returns {Promise<Map<string, string[]>>}
 */
export async function findByTitles(appId, target, wanted) {
  const idsByTitle = new Map(wanted.map((title) => [title, []]));
  if (target === 'core:users') {
    for (const account of await loadUsers()) {
      const names = new Set([account.username, nameAccount(account)]);
      for (const name of names) idsByTitle.get(name)?.push(account.id);
    }
    return idsByTitle;
  }
  const entity = await findEntity(appId, target);
  const names = findTitleFields(entity);
  for (let start = 0; names.length && start < wanted.length; start += MOST_TITLES) {
    const where = buildTitleWhere(names, wanted.slice(start, start + MOST_TITLES));
    const { data } = await post(buildPath(appId, target), { where, limit: 1000, total: false });
    for (const row of data) idsByTitle.get(makeTitle(entity, row))?.push(row.id);
  }
  return idsByTitle;
}

/** A condition for titles of one field, or of a first name and a last name with a space between. */
function buildTitleWhere(names, wanted) {
  const [name, lastName] = names;
  if (!lastName) return { [name]: { $in: wanted } };
  const people = wanted.flatMap((title) => {
    const words = title.split(' ');
    const places = words.slice(1).map((_, index) => index + 1);
    return places.map((place) => ({
      [name]: words.slice(0, place).join(' '),
      [lastName]: words.slice(place).join(' '),
    }));
  });
  return { $or: people.length ? people.slice(0, 2 * MOST_TITLES) : [{ id: null }] };
}

async function findUsers(text, signal, limit) {
  const accounts = await get('/api/v1/users', null, { signal });
  const part = text.toLowerCase();
  const matches = (account) =>
    `${account.username} ${account.display_name ?? ''}`.toLowerCase().includes(part);
  return accounts
    .filter(matches)
    .slice(0, limit)
    .map((account) => ({ id: account.id, title: nameAccount(account) }));
}
