/** The order of a table, in its address as `sort=stage,value&order=asc,desc`, and its groups. */
import { setQuery } from '../../core/router.js';

const DEFAULT = 'created_at';
/** Types whose values make groups; a time makes as many groups as there are records. */
const UNGROUPED = ['json', 'file', '[file]', '[text]', '[number]', 'timestamp'];

/**
 * The fields that are sorted by, each with its direction; none where the address names none.
 * @param {{sort?: string, order?: string}} address
 * @returns {{name: string, order: string}[]}
 */
export function readTerms({ sort = '', order = '' }) {
  const orders = order.split(',');
  const names = sort.split(',').filter(Boolean);
  return names.map((name, index) => ({ name, order: orders[index] === 'asc' ? 'asc' : 'desc' }));
}

/** The order that is shown, also where the address names none. */
export function listTerms(address) {
  const terms = readTerms(address);
  if (terms.length) return terms;
  return [{ name: DEFAULT, order: address.order === 'asc' ? 'asc' : 'desc' }];
}

/** What a query has of it: groups first, then the fields that are sorted by. */
export function buildOrder(address) {
  const terms = listTerms(address);
  const { group } = address;
  const ofGroup = terms.find(({ name }) => name === group) ?? { name: group, order: 'asc' };
  const others = terms.filter(({ name }) => name !== group);
  const [first, ...rest] = group ? [ofGroup, ...others] : terms;
  const thenBy = rest.map(({ name, order }) => ({ [name]: order }));
  return { orderBy: first.name, order: first.order, ...(thenBy.length ? { thenBy } : {}) };
}

/** The same order from its end. @param {any} query */
export function turnOrder({ order, thenBy, ...query }) {
  const turn = (direction) => (direction === 'asc' ? 'desc' : 'asc');
  const turnTerm = (term) => {
    const [[name, direction]] = Object.entries(term);
    return { [name]: turn(direction) };
  };
  const terms = thenBy?.map(turnTerm);
  return { ...query, order: turn(order), thenBy: terms };
}

/** @param {{name: string, order: string}[]} terms */
export function setTerms(terms) {
  const write = (values) => values.join(',') || null;
  setQuery({
    sort: write(terms.map(({ name }) => name)),
    order: write(terms.map(({ order }) => order)),
  });
}

/**
 * Sort as a click on a head does: by it alone, or with `isAdded` by it too; once more turns the
 * direction, and of several fields once more gives it up.
 */
export function sortBy(address, name, isAdded) {
  const terms = readTerms(address);
  const former = terms.find((term) => term.name === name);
  const others = terms.filter((term) => term.name !== name);
  const replace = (order) => terms.map((term) => (term === former ? { name, order } : term));
  const start = (rest) => setTerms([...rest, { name, order: 'asc' }]);
  if (!isAdded && others.length) start([]);
  else if (!former) start(others);
  else if (former.order === 'asc') setTerms(replace('desc'));
  else if (isAdded) setTerms(others);
  else setTerms(replace('asc'));
}

export const isGrouping = (field) => field.name !== 'id' && !UNGROUPED.includes(field.type);

/** The field that the rows of a table are grouped by. */
export function findGroup(entity, { group, layout }) {
  const field = entity.fields.find(({ name }) => name === group);
  const isGrouped = field && !layout && isGrouping(field);
  return isGrouped ? field : undefined;
}
