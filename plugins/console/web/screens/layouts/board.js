/** Records as cards in columns: of a choice, or of the records that a link leads to. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { A } from '../../core/router.js';
import { Menu } from '../../core/screen.js';
import { may } from '../../core/store.js';
import { ErrorBox, Loading, attempt, icon } from '../../core/ui.js';
import { loadLinkTitles, loadTitlesOf, makeTitle } from '../../parts/titles.js';
import { toastUndo } from '../../parts/undo.js';
import { CardLines, tintOf, tintOfRow } from '../../parts/values.js';
import { joinWheres } from '../data/filter.js';
import { ByChoice } from '../data/views.js';
import { saveRecord } from '../record/edit.js';
import { MARKED } from './marks.js';

const STEPS = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const NOTHING = { columns: null, rest: 0, error: null, marks: new Set() };

/**
 * The columns of a board. Those of a link are loaded step by step, and cards that are loaded stay
 * loaded.
 */
function useColumns({ appId, entity, field, query, round }) {
  const [state, setState] = useState(NOTHING);
  const [limit, setLimit] = useState(SHOWN);
  const current = useRef(state);
  const target = { appId, entity, field, query };
  const update = (changes) => {
    current.current = { ...current.current, ...changes };
    setState(current.current);
  };
  const load = async (signal) => {
    try {
      const loaded = await loadColumns(target, current.current.columns ?? [], limit, signal);
      if (signal?.aborted) return;
      const marks = findChanged(current.current.columns, loaded.columns);
      update({ ...loaded, marks, error: null });
      if (marks.size) setTimeout(() => update({ marks: new Set() }), MARKED);
    } catch (error) {
      if (!signal?.aborted) update({ error });
    }
  };
  const key = JSON.stringify([query, field.name]);
  useEffect(() => {
    const abort = new AbortController();
    load(abort.signal);
    return () => abort.abort();
  }, [key, limit, round]);
  /** Change the column of a key as it is now: others may have changed it meanwhile. */
  const changeColumn = (key, change) =>
    update({
      columns: current.current.columns.map((column) =>
        column.key === key ? { ...column, ...change(column) } : column,
      ),
    });
  const loadMore = (column) =>
    attempt(async () => {
      const longer = await addCards(target, column);
      changeColumn(column.key, () => longer);
    });
  const moveCard = (record, fromKey, toKey) => {
    changeColumn(fromKey, ({ count, cards }) => ({
      count: count - 1,
      cards: cards.filter(({ id }) => id !== record.id),
    }));
    const from = current.current.columns.find(({ key }) => key === fromKey);
    changeColumn(toKey, ({ count, cards, titles }) => ({
      count: count + 1,
      cards: [record, ...cards],
      titles: { ...from.titles, ...titles },
    }));
  };
  return { ...state, load, loadMore, moveCard, showMore: () => setLimit(limit + SHOWN) };
}

/** Ids of cards that others have changed since the columns were loaded before. */
function findChanged(before, after) {
  if (!before) return new Set();
  const times = new Map(
    before.flatMap(({ cards }) => cards.map((card) => [card.id, card.updated_at])),
  );
  const cards = after.flatMap((column) => column.cards);
  const isChanged = (card) => times.get(card.id) !== card.updated_at;
  return new Set(cards.filter(isChanged).map((card) => card.id));
}

/** @param {{appId: string, entity: any, field: any, query: any, fields: any[], round: number}} props */
export function Board({ appId, entity, field, query, fields, round }) {
  const board = useColumns({ appId, entity, field, query, round });
  const { columns, rest, error, marks, load } = board;
  const box = useRef(null);
  /** The card that is dragged, and its column. */
  const dragged = useRef(null);
  /** The card that gets the focus when it is drawn in its new column. */
  const focused = useRef(null);
  useEffect(() => {
    if (focused.current) box.current.querySelector(`[data-card="${focused.current}"]`)?.focus();
    focused.current = null;
  }, [columns]);

  const isMovable = may(appId, entity.name, 'update') && !field.locked;
  const move = (card, from, to) =>
    attempt(async () => {
      if (from.key === to.key) return;
      const record = await saveRecord(appId, entity, card, { [field.name]: to.value });
      if (!record) {
        await load();
        return;
      }
      focused.current = card.id;
      board.moveCard(record, from.key, to.key);
      toastUndo(`Moved to ${to.title}.`, { appId, request: record._request });
    });
  const press = (event) => {
    const step = STEPS[event.key];
    const id = event.target.dataset?.card;
    if (!step || !id || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const at = columns.findIndex(({ cards }) => cards.some((card) => card.id === id));
    const { cards } = columns[at];
    const row = cards.findIndex((card) => card.id === id);
    if (event.shiftKey && step[0] && isMovable) {
      const target = columns[at + step[0]];
      if (target) move(cards[row], columns[at], target);
      return;
    }
    const next = step[1] ? cards[row + step[1]] : findNeighbour(columns, at, step[0], row);
    if (next) box.current.querySelector(`[data-card="${next.id}"]`).focus();
  };
  const drop = (column) => {
    const { card, from } = dragged.current ?? {};
    dragged.current = null;
    if (card) move(card, from, column);
  };
  const drag = (card, from) => {
    dragged.current = card && { card, from };
  };

  return html`<div class="layoutbar row">
      <${ByChoice} entity=${entity} layout="board" field=${field} />
      ${isMovable && html`<span class="dim wide-only">Drag a card, or <kbd>Shift</kbd><kbd>←</kbd><kbd>→</kbd></span>`}
    </div>
    ${error && html`<div class="padded"><${ErrorBox} error=${error} retry=${() => load()} /></div>`}
    ${!columns && !error && html`<${Loading} />`}
    ${
      columns &&
      html`<div class="board" ref=${box} onKeyDown=${press}>
        ${columns.map(
          (column) => html`<${Column}
            key=${column.key}
            column=${column}
            columns=${columns}
            marks=${marks}
            isMovable=${isMovable}
            tint=${tintOf(field, column.value)}
            by=${field.name}
            card=${{ appId, entity, fields: fields.filter(({ name }) => name !== field.name) }}
            act=${{ move, drag, drop, loadMore: board.loadMore }}
          />`,
        )}
        ${rest > 0 && html`<button onClick=${board.showMore}>More columns (${rest})</button>`}
      </div>`
    }`;
}

/** The card at the same height in the next column that has cards. */
function findNeighbour(columns, from, step, row) {
  for (let at = from + step; columns[at]; at += step) {
    const { cards } = columns[at];
    if (cards.length) return cards[Math.min(row, cards.length - 1)];
  }
  return null;
}

function Column({ column, columns, marks, isMovable, tint, by, card, act }) {
  const [isOver, setOver] = useState(false);
  const { title, count, cards } = column;
  const over = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    act.drop(column);
  };
  return html`<section
    class="column ${tint} ${isOver ? 'over' : ''}"
    aria-label=${title}
    onDragOver=${isMovable ? over : undefined}
    onDragLeave=${() => setOver(false)}
    onDrop=${drop}
  >
    <h2 class="row"><span class="cut grow">${title}</span><small>${count.toLocaleString()}</small></h2>
    <ul class="plain">
      ${cards.map(
        (row) => html`<li
          key=${row.id}
          class="card ${tintOfRow(card.entity, row, by)} ${marks.has(row.id) ? 'changed' : ''}"
          draggable=${isMovable}
          onDragStart=${(event) => {
            event.dataTransfer.setData('text/plain', row.id);
            act.drag(row, column);
          }}
          onDragEnd=${() => act.drag(null)}
        >
          <div class="row">
            <${A}
              class="cut grow"
              draggable=${false}
              data-card=${row.id}
              to=${['record', card.appId, card.entity.name, row.id]}
            >
              ${makeTitle(card.entity, row)}
            <//>
            ${
              isMovable &&
              html`<${MoveMenu}
                columns=${columns.filter(({ key }) => key !== column.key)}
                move=${(target) => act.move(row, column, target)}
              />`
            }
          </div>
          <${CardLines} ...${card} row=${row} titles=${column.titles} />
        </li>`,
      )}
    </ul>
    ${
      cards.length < count &&
      html`<button class="quiet" onClick=${() => act.loadMore(column)}>
        ${(count - cards.length).toLocaleString()} more
      </button>`
    }
  </section>`;
}

/** The way to another column without dragging, as on a touch screen. */
const MoveMenu = ({ columns, move }) => html`<${Menu}
  className="quiet icon small"
  title="Move to…"
  align="end"
  label=${icon('more')}
>
  ${(close) =>
    columns.map(
      (column) => html`<button
        key=${column.key}
        onClick=${() => {
          close();
          move(column);
        }}
      >
        ${column.title}
      </button>`,
    )}
<//>`;

// --- the columns of a board: one request counts all, and each column loads a page of its cards

/** Cards that a column loads at once, and those that are loaded again at most. */
const PAGE = 20;
const MOST_CARDS = 200;
/** Columns of a link that are shown at first, and groups that are counted. */
const SHOWN = 12;
const MOST_GROUPS = 200;
/** What the count of a column is called in a reply: no field is. */
const NUMBER = 'number_of_cards';

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
 * @param {Target} target @param {Column[]} before @param {number} shown @param {AbortSignal} [signal]
 * @returns {Promise<{columns: Column[], rest: number}>} `rest` is how many are not shown
 */
export async function loadColumns(target, before, shown, signal) {
  const { appId, field, query } = target;
  const { data } = await post(
    buildPath(target),
    {
      where: query.where,
      search: query.search,
      groupBy: [field.name],
      aggregate: { [NUMBER]: { $count: '*' } },
      orderBy: NUMBER,
      order: 'desc',
      limit: MOST_GROUPS,
      total: false,
    },
    { signal },
  );
  const counts = new Map(data.map((group) => [group[field.name], group[NUMBER]]));
  const values = listValues(field, counts);
  const shownValues = values.slice(0, field.references ? shown : values.length);
  const titles = field.references
    ? await loadTitlesOf(appId, field.references, shownValues.filter(Boolean))
    : {};
  const columns = shownValues.map((value) => {
    const key = String(value);
    const former = before.find((column) => column.key === key);
    return {
      key,
      value,
      title: value === null ? 'None' : (titles[value] ?? key),
      count: counts.get(value) ?? 0,
      cards: [],
      titles: {},
      limit: Math.min(MOST_CARDS, Math.max(PAGE, former?.cards.length ?? 0)),
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
  // Cards that were moved here are not in the order of the others: the last page is read again.
  const offset = Math.max(0, column.cards.length - PAGE);
  const cards = await loadCards(target, column, { limit: 2 * PAGE, offset });
  const ids = new Set(column.cards.map((card) => card.id));
  return addPage(
    target,
    column,
    cards.filter((card) => !ids.has(card.id)),
  );
}
