/** Records on the days of a month, by a date or a time. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { A, setQuery } from '../../core/router.js';
import { may } from '../../core/store.js';
import { Loaded, attempt, icon, useLoad } from '../../core/ui.js';
import { makeTitle } from '../../parts/titles.js';
import { toastUndo } from '../../parts/undo.js';
import { tintOfRow } from '../../parts/values.js';
import { joinWheres } from '../data/filter.js';
import { ByChoice } from '../data/views.js';
import { saveRecord } from '../record/edit.js';
import { useMarks } from './marks.js';

/** Records of a month that are loaded, and those that a day shows. */
const MOST = 1000;
const MOST_OF_DAY = 4;
const DAYS_OF_WEEK = 7;
const MONTH = /^\d{4}-\d{2}$/;
/** Days by which the keys go, and move a record together with Shift. */
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -DAYS_OF_WEEK, ArrowDown: DAYS_OF_WEEK };

/** A day as people's clocks have it, `2031-04-15`. @param {Date} date */
function writeDay(date) {
  const pad = (number) => String(number).padStart(2, '0');
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** The first day of the week, 0 is Sunday: that of the user's language, Monday where it is not known. */
function findFirstDay() {
  /** @type {any} */
  const locale = new Intl.Locale(navigator.language);
  const info = locale.getWeekInfo?.() ?? locale.weekInfo;
  return (info?.firstDay ?? 1) % DAYS_OF_WEEK;
}

/** The days of the whole weeks of a month. @param {string} month @returns {Date[]} */
function listDays(month) {
  const [year, number] = month.split('-').map(Number);
  const first = new Date(year, number - 1, 1);
  const before = (first.getDay() - findFirstDay() + DAYS_OF_WEEK) % DAYS_OF_WEEK;
  const length = new Date(year, number, 0).getDate();
  const count = Math.ceil((before + length) / DAYS_OF_WEEK) * DAYS_OF_WEEK;
  return Array.from(
    { length: count },
    (_, index) => new Date(year, number - 1, 1 - before + index),
  );
}

const readDay = (field, value) =>
  field.type === 'date' ? String(value).slice(0, 10) : writeDay(new Date(value));

/** The value of a record that is moved to another day: a time keeps its hour. */
function moveValue(field, value, day) {
  if (field.type === 'date') return day;
  const [year, month, date] = day.split('-').map(Number);
  const moved = new Date(value);
  moved.setFullYear(year, month - 1, date);
  return moved.toISOString();
}

function addDays(day, count) {
  const [year, month, date] = day.split('-').map(Number);
  return writeDay(new Date(year, month - 1, date + count));
}

/** The records of some days, by their day. */
async function loadDays({ appId, entity, field, query }, days, signal) {
  const last = days.at(-1);
  const end = new Date(last.getFullYear(), last.getMonth(), last.getDate() + 1);
  const write = (date) => (field.type === 'date' ? writeDay(date) : date.toISOString());
  const range = { [field.name]: { $gte: write(days[0]), $lt: write(end) } };
  const { data } = await post(
    url`/api/v1/apps/${appId}/collections/${entity.name}/query`,
    {
      where: joinWheres(query.where, range),
      search: query.search,
      orderBy: field.name,
      order: 'asc',
      limit: MOST,
      total: false,
      etag: true,
    },
    { signal },
  );
  return { rows: data, isCut: data.length === MOST };
}

/** Moves records to other days: by dragging, and by keys. */
function useMoves({ appId, entity, field }, loaded) {
  /** The record that is dragged. */
  const dragged = useRef(null);
  /** The record that gets the focus when it is drawn on its new day. */
  const focused = useRef(null);
  const box = useRef(null);
  useEffect(() => {
    const entry = focused.current && box.current?.querySelector(`[data-row="${focused.current}"]`);
    if (!entry) return;
    entry.focus();
    focused.current = null;
  }, [loaded.data]);
  const isMovable = may(appId, entity.name, 'update') && !field.locked && !field.system;
  const show = (moved) => {
    const { rows } = loaded.data;
    loaded.set({ ...loaded.data, rows: rows.map((row) => (row.id === moved.id ? moved : row)) });
  };
  const move = (row, day) =>
    attempt(async () => {
      if (!isMovable || readDay(field, row[field.name]) === day) return;
      const value = moveValue(field, row[field.name], day);
      const record = await saveRecord(appId, entity, row, { [field.name]: value });
      if (!record) {
        loaded.reload();
        return;
      }
      focused.current = row.id;
      show(record);
      const title = new Date(`${day}T00:00`).toLocaleDateString(undefined, { dateStyle: 'medium' });
      toastUndo(`Moved to ${title}.`, { appId, request: record._request, done: loaded.reload });
    });
  const drag = (row) => {
    dragged.current = row;
  };
  const drop = (day) => {
    if (dragged.current) move(dragged.current, day);
    dragged.current = null;
  };
  const press = (event) => {
    const step = STEPS[event.key];
    const id = event.target.dataset?.row;
    if (!step || !id || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const row = loaded.data.rows.find((candidate) => candidate.id === id);
    if (event.shiftKey) move(row, addDays(readDay(field, row[field.name]), step));
    else focusNext(box.current, event.target, step);
  };
  return { box, isMovable, drag, drop, press };
}

/** Move the focus along the entries: to the next one, or to the next day that has some. */
function focusNext(box, entry, step) {
  const entries = [...box.querySelectorAll('.entry')];
  const at = entries.indexOf(entry);
  if (Math.abs(step) === 1) {
    entries[at + step]?.focus();
    return;
  }
  const day = entry.closest('.day');
  const days = [...box.querySelectorAll('.day')];
  const sign = Math.sign(step);
  for (let next = days.indexOf(day) + sign; days[next]; next += sign) {
    const target = days[next].querySelector('.entry');
    if (target) {
      target.focus();
      return;
    }
  }
}

/** @param {{appId: string, entity: any, field: any, address: any, query: any, round: number}} props */
export function Calendar({ appId, entity, field, address, query, round }) {
  const today = writeDay(new Date());
  const month = MONTH.test(address.at ?? '') ? address.at : today.slice(0, 7);
  const days = listDays(month);
  const target = { appId, entity, field, query };
  const loaded = useLoad(
    (signal) => loadDays(target, days, signal),
    [JSON.stringify(query), field.name, month, round],
  );
  const moves = useMoves(target, loaded);
  const marks = useMarks(loaded.data?.rows, JSON.stringify([query, field.name, month]));
  const go = (step) => {
    const [year, number] = month.split('-').map(Number);
    setQuery({ at: writeDay(new Date(year, number - 1 + step, 1)).slice(0, 7) });
  };
  const title = new Date(`${month}-01T00:00`).toLocaleDateString(undefined, {
    month: 'long',
    year: 'numeric',
  });
  const weekdays = days.slice(0, DAYS_OF_WEEK);
  return html`<div class="layoutbar row">
      <${ByChoice} entity=${entity} layout="calendar" field=${field} />
      <span class="grow">
        ${
          moves.isMovable &&
          html`<span class="dim wide-only">Drag a record, or <kbd>Shift</kbd> and an arrow</span>`
        }
      </span>
      <span class="nowrap">
      <button class="icon quiet" aria-label="The month before" onClick=${() => go(-1)}>
        ${icon('left')}
      </button>
      <b aria-live="polite">${title}</b>
      <button class="icon quiet" aria-label="The month after" onClick=${() => go(1)}>
        ${icon('right')}
      </button>
      </span>
      <button onClick=${() => setQuery({ at: null })}>Today</button>
    </div>
    <div class="layout">
      <${Loaded} of=${loaded}>
        ${({ rows, isCut }) => {
          const byDay = Map.groupBy(rows, (row) => readDay(field, row[field.name]));
          return html`${
            isCut && html`<p class="notice warn">The first ${MOST} records are shown.</p>`
          }
          <div class="weekdays" aria-hidden="true">
            ${weekdays.map(
              (day) => html`<span key=${day}>
                ${day.toLocaleDateString(undefined, { weekday: 'short' })}
              </span>`,
            )}
          </div>
          <ol class="calendar plain" ref=${moves.box} onKeyDown=${moves.press}>
            ${days.map((day) => {
              const key = writeDay(day);
              const isOther = !key.startsWith(month);
              return html`<${Day}
                key=${key}
                day=${day}
                look=${`${isOther ? 'other' : ''} ${key === today ? 'today' : ''}`}
                rows=${byDay.get(key) ?? []}
                target=${target}
                moves=${moves}
                marks=${marks}
              />`;
            })}
          </ol>`;
        }}
      <//>
    </div>`;
}

function Day({ day, look, rows, target, moves, marks }) {
  const [isOver, setOver] = useState(false);
  const over = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    moves.drop(writeDay(day));
  };
  const name = day.toLocaleDateString(undefined, { dateStyle: 'full' });
  const showAll = () => {
    const content = ({ close }) => html`<h2>${name}</h2>
      <ul class="plain" onClick=${() => close()}>
        <${Rows} rows=${rows} target=${target} />
      </ul>
      <div class="actions"><button onClick=${() => close()}>Close</button></div>`;
    openDialog(content, { label: name });
  };
  return html`<li
    class=${`day ${look} ${rows.length ? '' : 'free'} ${isOver ? 'over' : ''}`}
    onDragOver=${moves.isMovable ? over : undefined}
    onDragLeave=${() => setOver(false)}
    onDrop=${drop}
  >
    <time datetime=${writeDay(day)} title=${name}>
      ${day.getDate()}<span class="narrow-only"> ${name}</span>
    </time>
    <ul class="plain">
      <${Rows} rows=${rows.slice(0, MOST_OF_DAY)} target=${target} moves=${moves} marks=${marks} />
    </ul>
    ${
      rows.length > MOST_OF_DAY &&
      html`<button class="link" onClick=${showAll}>${rows.length - MOST_OF_DAY} more</button>`
    }
  </li>`;
}

const Rows = ({ rows, target: { appId, entity, field }, moves = null, marks = null }) =>
  rows.map((row) => {
    const time = field.type === 'date' ? '' : new Date(row[field.name]);
    const start = (event) => {
      event.dataTransfer.setData('text/plain', row.id);
      moves.drag(row);
    };
    return html`<li key=${row.id}>
      <${A}
        class=${`cut entry ${tintOfRow(entity, row)} ${marks?.has(row.id) ? 'changed' : ''}`}
        data-row=${row.id}
        draggable=${Boolean(moves?.isMovable)}
        onDragStart=${start}
        onDragEnd=${() => moves.drag(null)}
        to=${['record', appId, entity.name, row.id]}
      >
        ${time && html`<small>${time.toLocaleTimeString(undefined, { timeStyle: 'short' })}</small> `}
        ${makeTitle(entity, row)}
      <//>
    </li>`;
  });
