/** Records as cards in columns: of a choice, or of the records that a link leads to. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { A } from '../../core/router.js';
import { Menu } from '../../core/screen.js';
import { may } from '../../core/store.js';
import { ErrorBox, Loading, attempt, icon } from '../../core/ui.js';
import { makeTitle } from '../../parts/titles.js';
import { toastUndo } from '../../parts/undo.js';
import { CardLines } from '../../parts/values.js';
import { ByChoice } from '../data/layouts.js';
import { saveRecord } from '../record/edit.js';
import { addCards, loadColumns } from './columns.js';

/** Milliseconds for which changes of others are marked. */
const MARKED = 1000;
const STEPS = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const NOTHING = { columns: null, rest: 0, error: null, marks: new Set() };

/**
 * The columns of a board. `shown` is how many of a link's columns are loaded, and cards that are
 * loaded stay loaded.
 */
function useColumns({ appId, entity, field, query, round }) {
  const [state, setState] = useState(NOTHING);
  const [shown, setShown] = useState(undefined);
  const current = useRef(state);
  const target = { appId, entity, field, query };
  const update = (changes) => {
    current.current = { ...current.current, ...changes };
    setState(current.current);
  };
  const load = async (signal) => {
    try {
      const loaded = await loadColumns(target, current.current.columns ?? [], shown, signal);
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
  }, [key, shown, round]);
  /** Change the column of a key as it is now: others may have changed it meanwhile. */
  const changeColumn = (key, change) =>
    update({
      columns: current.current.columns.map((column) =>
        column.key === key ? { ...column, ...change(column) } : column,
      ),
    });
  const more = (column) =>
    attempt(async () => {
      const longer = await addCards(target, column);
      changeColumn(column.key, () => longer);
    });
  const moveCard = (record, fromKey, toKey) => {
    changeColumn(fromKey, ({ count, cards }) => ({
      count: count - 1,
      cards: cards.filter(({ id }) => id !== record.id),
    }));
    changeColumn(toKey, ({ count, cards }) => ({ count: count + 1, cards: [record, ...cards] }));
  };
  return { ...state, load, more, moveCard, showMore: setShown };
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
            card=${{ appId, entity, fields: fields.filter(({ name }) => name !== field.name) }}
            act=${{ move, drag, drop, more: board.more }}
          />`,
        )}
        ${
          rest > 0 &&
          html`<button onClick=${() => board.showMore(columns.length + rest)}>
            ${rest} more columns
          </button>`
        }
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

function Column({ column, columns, marks, isMovable, card, act }) {
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
    class="column ${isOver ? 'over' : ''}"
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
          class="card ${marks.has(row.id) ? 'changed' : ''}"
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
      html`<button class="quiet" onClick=${() => act.more(column)}>
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
