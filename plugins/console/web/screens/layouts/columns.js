/** The columns of a board: one request counts all, and each column loads a page of its cards. */
import { post, url } from '../../core/api.js';
import { loadLinkTitles, loadTitlesOf } from '../../parts/titles.js';
import { joinWheres } from '../data/filter.js';

/** Cards that a column loads at once, and those that are loaded again at most. */
const PAGE = 20;
const MOST_CARDS = 200;
/** Columns of a link that are shown at first, and groups that are counted. */
const SHOWN = 12;
const MOST_GROUPS = 200;

/**
 * A column: `key` is its value as text, `value` what a card that is moved here gets.
 * @typedef {{key: string, value: any, title: string, count: number, cards: any[],
 *   titles: Record<string, string>}} Column
 * @typedef {{appId: string, entity: any, field: any, query: any}} Target
 */

const buildPath = ({ appId, entity }) =>
  url`/api/v1/apps/${appId}/collections/${entity.name}/query`;

/**
 * Load the columns; each has as many cards as it had before, and a page at least.
 * @param {Target} target @param {Column[]} before @param {number} [shown] @param {AbortSignal} [signal]
 * @returns {Promise<{columns: Column[], rest: number}>} `rest` is how many are not shown
 */
export async function loadColumns(target, before, shown = SHOWN, signal) {
  const { appId, field, query } = target;
  const { data } = await post(
    buildPath(target),
    {
      where: query.where,
      search: query.search,
      groupBy: [field.name],
      aggregate: { count: { $count: '*' } },
      orderBy: 'count',
      order: 'desc',
      limit: MOST_GROUPS,
      total: false,
    },
    { signal },
  );
  const counts = new Map(data.map((group) => [group[field.name], group.count]));
  const values = listValues(field, counts);
  const shownValues = values.slice(0, field.references ? shown : values.length);
  const titles = field.references
    ? await loadTitlesOf(appId, field.references, shownValues.filter(Boolean))
    : {};
  const columns = shownValues.map((value) => {
    const key = String(value);
    const known = before.find((column) => column.key === key);
    return {
      key,
      value,
      title: value === null ? 'None' : (titles[value] ?? key),
      count: counts.get(value) ?? 0,
      cards: [],
      titles: {},
      limit: Math.min(MOST_CARDS, Math.max(PAGE, known?.cards.length ?? 0)),
    };
  });
  const filled = await Promise.all(columns.map((column) => fill(target, column, signal)));
  return { columns: filled, rest: values.length - shownValues.length };
}

/** The values that have a column: choices in their order, links by the number of their cards. */
function listValues(field, counts) {
  const counted = [...counts.keys()].filter((value) => value !== null);
  const choices = field.enum_values ?? [];
  const others = counted.filter((value) => !choices.includes(value));
  const nothing = counts.has(null) || !field.required ? [null] : [];
  return [...choices, ...others, ...nothing];
}

async function fill(target, column, signal) {
  const { limit, ...rest } = column;
  if (!rest.count) return rest;
  const cards = await loadCards(target, rest, { limit }, signal);
  return addPage(target, rest, cards);
}

async function loadCards({ appId, entity, field, query }, column, place, signal) {
  const isOf = { [field.name]: column.value === null ? { $isNull: true } : { $eq: column.value } };
  const where = joinWheres(query.where, isOf);
  const body = { ...query, ...place, where, total: false, etag: true };
  const reply = await post(buildPath({ appId, entity }), body, { signal });
  return reply.data;
}

async function addPage({ appId, entity }, column, cards) {
  const byField = await loadLinkTitles(appId, entity, cards);
  const titles = Object.assign({}, column.titles, ...Object.values(byField));
  return { ...column, cards: [...column.cards, ...cards], titles };
}

/** Load the next cards of a column. @param {Target} target @param {Column} column */
export async function addCards(target, column) {
  // Cards that were moved here have no place in the order: what follows is found by its number.
  const cards = await loadCards(target, column, { limit: PAGE, offset: column.cards.length });
  const ids = new Set(column.cards.map((card) => card.id));
  return addPage(
    target,
    column,
    cards.filter((card) => !ids.has(card.id)),
  );
}
