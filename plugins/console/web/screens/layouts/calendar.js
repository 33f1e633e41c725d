/** Records on the days of a month, by a date or a time. */
import { html } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { A, setQuery } from '../../core/router.js';
import { Loaded, icon, useLoad } from '../../core/ui.js';
import { makeTitle } from '../../parts/titles.js';
import { joinWheres } from '../data/filter.js';
import { ByChoice } from '../data/views.js';

/** Records of a month that are loaded, and those that a day shows. */
const MOST = 1000;
const MOST_OF_DAY = 4;
const DAYS_OF_WEEK = 7;
const MONTH = /^\d{4}-\d{2}$/;

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
    },
    { signal },
  );
  const byDay = Map.groupBy(data, (row) => readDay(field, row[field.name]));
  return { byDay, isCut: data.length === MOST };
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
      <span class="grow" />
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
        ${({ byDay, isCut }) => html`${
          isCut && html`<p class="notice warn">The first ${MOST} records are shown.</p>`
        }
          <div class="weekdays" aria-hidden="true">
            ${weekdays.map(
              (day) => html`<span key=${day}>
                ${day.toLocaleDateString(undefined, { weekday: 'short' })}
              </span>`,
            )}
          </div>
          <ol class="calendar plain">
            ${days.map((day) => {
              const key = writeDay(day);
              const isOther = !key.startsWith(month);
              return html`<${Day}
                key=${key}
                day=${day}
                look=${`${isOther ? 'other' : ''} ${key === today ? 'today' : ''}`}
                rows=${byDay.get(key) ?? []}
                target=${target}
              />`;
            })}
          </ol>`}
      <//>
    </div>`;
}

function Day({ day, look, rows, target }) {
  const name = day.toLocaleDateString(undefined, { dateStyle: 'full' });
  const showAll = () => {
    const content = ({ close }) => html`<h2>${name}</h2>
      <ul class="plain" onClick=${() => close()}>
        <${Rows} rows=${rows} target=${target} />
      </ul>
      <div class="actions"><button onClick=${() => close()}>Close</button></div>`;
    openDialog(content, { label: name });
  };
  return html`<li class=${`day ${look} ${rows.length ? '' : 'free'}`}>
    <time datetime=${writeDay(day)} title=${name}>
      ${day.getDate()}<span class="narrow-only"> ${name}</span>
    </time>
    <ul class="plain"><${Rows} rows=${rows.slice(0, MOST_OF_DAY)} target=${target} /></ul>
    ${
      rows.length > MOST_OF_DAY &&
      html`<button class="link" onClick=${showAll}>${rows.length - MOST_OF_DAY} more</button>`
    }
  </li>`;
}

const Rows = ({ rows, target: { appId, entity, field } }) =>
  rows.map((row) => {
    const time = field.type === 'date' ? '' : new Date(row[field.name]);
    return html`<li key=${row.id}>
      <${A} class="cut entry" to=${['record', appId, entity.name, row.id]}>
        ${time && html`<small>${time.toLocaleTimeString(undefined, { timeStyle: 'short' })}</small> `}
        ${makeTitle(entity, row)}
      <//>
    </li>`;
  });
