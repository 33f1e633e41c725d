/** Rows in groups: sections with a head and a count, which can be folded. */
import { html } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { parse, stringify } from '../../core/json.js';
import { setQuery } from '../../core/router.js';
import { Menu } from '../../core/screen.js';
import { nameField } from '../../core/store.js';
import { icon } from '../../core/ui.js';
import { isSame, writeValue } from '../../parts/values.js';
import { loadTitlesOf } from '../../parts/titles.js';

/** Groups that are counted; the rows behind them have no heads. */
const MOST = 500;
/** What the number of records is called in a reply: no field is. */
const NUMBER = 'number_of_records';
const NONE = [];

/** The values whose groups are folded. @param {string} [text] of the address @returns {any[]} */
export function readFolded(text) {
  try {
    return text ? [parse(text)].flat() : NONE;
  } catch {
    return NONE;
  }
}

const setFolded = (values) =>
  setQuery({ folded: values.length ? stringify(values) : null }, { replace: true });

/** Fold a group, or unfold it. */
export function toggleGroup(folded, group) {
  const others = folded.filter((value) => !isSame(value, group.value));
  setFolded(group.isFolded ? others : [...others, group.value]);
}

/** A condition that leaves out the rows of folded groups. @param {any} field @param {any[]} folded */
export function leaveOut(field, folded) {
  const values = folded.filter((value) => value !== null);
  const conditions = [];
  if (folded.includes(null)) conditions.push({ [field.name]: { $isNull: false } });
  else if (values.length) conditions.push({ [field.name]: { $isNull: true } });
  if (values.length) conditions.push({ [field.name]: { $nin: values } });
  if (conditions.length < 2) return conditions[0];
  return { [folded.includes(null) ? '$and' : '$or']: conditions };
}

/**
 * Load the groups of a query that is ordered by their field, in this order.
 * @returns {Promise<{value: any, title: string, count: number, isFolded: boolean}[]>}
 */
export async function loadGroups({ appId, entity, field, folded }, query, signal) {
  const path = url`/api/v1/apps/${appId}/collections/${entity.name}/query`;
  const body = {
    where: query.where,
    search: query.search,
    groupBy: [field.name],
    aggregate: { [NUMBER]: { $count: '*' } },
    orderBy: field.name,
    order: query.order,
    limit: MOST,
    total: false,
  };
  const { data } = await post(path, body, { signal });
  const values = data.map((group) => group[field.name]);
  const titles = field.references ? await loadTitlesOf(appId, field.references, values) : {};
  return data.map((group, index) => {
    const value = values[index];
    return {
      value,
      title: value === null ? 'None' : writeValue(field, value, titles[value]),
      count: Number(group[NUMBER]),
      isFolded: folded.some((other) => isSame(other, value)),
    };
  });
}

const add = (groups) => groups.reduce((sum, group) => sum + group.count, 0);

/** Rows of all groups, and of those that are not folded; null where some groups are not known. */
export function countGroups(groups) {
  if (groups.length === MOST) return { matching: null, shown: null };
  const shown = groups.filter((group) => !group.isFolded);
  return { matching: add(groups), shown: add(shown) };
}

/**
 * Where rows and heads are, in lines from the top of the table.
 * @param {{count: number, isFolded: boolean}[]|null} groups
 * @returns {{heads: any[], lineOf: (row: number) => number, rowAt: (line: number) => number}}
 *   `rowAt` is the first row in a line or below it
 */
export function makePlan(groups) {
  if (!groups) return { heads: NONE, lineOf: (row) => row, rowAt: (line) => line };
  let line = 0;
  let row = 0;
  const heads = groups.map((group) => {
    const head = { ...group, line, row };
    const shown = group.isFolded ? 0 : group.count;
    line += 1 + shown;
    row += shown;
    return head;
  });
  const open = heads.filter((head) => !head.isFolded);
  const lineOf = (wanted) => {
    const head = open.findLast((candidate) => candidate.row <= wanted);
    return head ? head.line + 1 + wanted - head.row : wanted;
  };
  const rowAt = (wanted) => {
    const head = heads.findLast((candidate) => candidate.line <= wanted);
    if (!head) return 0;
    return head.isFolded ? head.row : head.row + Math.max(0, wanted - head.line - 1);
  };
  return { heads, lineOf, rowAt };
}

/** The head of a group: a click folds it. */
export const GroupHead = ({ head, lay, toggle }) => html`<div
  class="gr gg"
  role="row"
  aria-rowindex=${head.line + 2}
  ref=${lay}
>
  <div role="gridcell">
    <button class="quiet small" tabindex="-1" aria-expanded=${!head.isFolded} onClick=${toggle}>
      ${icon(head.isFolded ? 'right' : 'down')}
      <b class="cut">${head.title}</b>
      <small>${head.count.toLocaleString()}</small>
    </button>
  </div>
</div>`;

/** The groups of a table, to fold them by keys. @param {{field: any, groups: any[]}} props */
export function GroupMenu({ field, groups }) {
  const folded = groups.filter((group) => group.isFolded).map((group) => group.value);
  const label = html`${icon('board')}<span class="wide-only cut">${nameField(field)}</span>`;
  return html`<${Menu} title=${`Grouped by ${field.name}`} className="on" label=${label}>
    ${(close) => {
      const closing = (run) => () => {
        close();
        run();
      };
      return html`<button onClick=${closing(() => setQuery({ group: null, folded: null }))}>
          ${icon('x')}Do not group
        </button>
        <button onClick=${closing(() => setFolded(groups.map((group) => group.value)))}>
          Fold all
        </button>
        <button onClick=${closing(() => setFolded(NONE))}>Unfold all</button>
        <hr />
        ${groups.map(
          (group) => html`<button
            key=${stringify(group.value)}
            aria-expanded=${!group.isFolded}
            onClick=${() => toggleGroup(folded, group)}
          >
            ${icon(group.isFolded ? 'right' : 'down')}
            <span class="grow cut">${group.title}</span>
            <small class="num">${group.count.toLocaleString()}</small>
          </button>`,
        )}`;
    }}
  <//>`;
}
