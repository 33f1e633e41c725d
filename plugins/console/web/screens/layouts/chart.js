/** Records as a chart: their groups, each with a figure. */
import { html } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { stringify } from '../../core/json.js';
import { nameField, toWords } from '../../core/store.js';
import { Loaded, useLoad } from '../../core/ui.js';
import { Chart } from '../../parts/chart.js';
import { loadTitlesOf } from '../../parts/titles.js';
import { formatAmount, listFields, tintOf } from '../../parts/values.js';
import { FIGURES } from '../data/columns.js';
import { joinWheres } from '../data/filter.js';
import { AddressChoice, ByChoice, isTime } from '../data/views.js';

const KINDS = [
  ['', 'Bars'],
  ['line', 'Line'],
];

/** @param {{appId: string, entity: any, field: any, address: any, query: any, round: number}} props */
export function ChartView({ appId, entity, field, address, query, round }) {
  const { period = 'month', chart } = address;
  const figure = readFigure(address.figure);
  const isOrdered = isTime(field);
  const selection = { ...query, by: field, period, figure };
  const groups = useLoad(
    (signal) => loadGroups(appId, entity, selection, signal),
    [JSON.stringify(selection), round],
  );
  const figures = listFigures(entity).map(([aggregate, title]) => [writeFigure(aggregate), title]);
  return html`<div class="layoutbar row">
      <${ByChoice} entity=${entity} layout="chart" field=${field} />
      ${
        isOrdered &&
        html`<${AddressChoice}
          label="Each"
          name="period"
          choices=${PERIODS.map((name) => [name, toWords(name)])}
          chosen=${period}
        />`
      }
      <${AddressChoice}
        label="Figure"
        name="figure"
        choices=${figures}
        chosen=${address.figure ?? ''}
      />
      <${AddressChoice} label="Drawn as" name="chart" choices=${KINDS} chosen=${chart ?? ''} />
    </div>
    <div class="layout">
      <${Loaded} of=${groups}>
        ${(list) => html`<${Chart}
            groups=${list}
            isLine=${chart === 'line'}
            isOrdered=${isOrdered}
            names=${[nameField(field), nameFigure(entity, figure)]}
          />
          ${list.length === MOST_GROUPS && html`<p class="dim">The ${MOST_GROUPS} largest groups.</p>`}`}
      <//>
    </div>`;
}

// --- the figures of groups, and what they are called

/** Groups of a time and of other fields that are drawn at most; the newest, and the largest. */
const MOST_TIMES = 400;
const MOST_GROUPS = 40;
/** What the figure of a group is called in a reply: no field is. */
const NUMBER = 'figure_of_group';
export const COUNT = { $count: '*' };
export const PERIODS = ['day', 'week', 'month', 'quarter', 'year'];

/** Figures as the server aggregates them, with their titles. @returns {any[][]} */
export function listFigures(entity) {
  const fields = listFields(entity).filter((field) => field.name !== 'id');
  const figures = FIGURES.flatMap(({ name, title, types }) =>
    fields
      .filter((field) => !types || types.includes(field.type))
      .filter((field) => name === 'countDistinct' || field.type === 'number')
      .map((field) => [{ [`$${name}`]: field.name }, `${title} of ${nameField(field)}`]),
  );
  return [[COUNT, 'Number of records'], ...figures];
}

/** A figure as an address has it, `value.sum`; empty for the number of records. */
export function writeFigure(aggregate) {
  const [[operator, name]] = Object.entries(aggregate);
  return name === '*' ? '' : `${name}.${operator.slice(1)}`;
}

export function readFigure(text) {
  const [name, kind] = (text ?? '').split('.');
  return kind ? { [`$${kind}`]: name } : COUNT;
}

/** What a figure is called. */
export function nameFigure(entity, aggregate) {
  const text = writeFigure(aggregate);
  const figure = listFigures(entity).find(([other]) => writeFigure(other) === text);
  return figure ? figure[1] : text;
}

/** A figure as people read it. */
export function formatFigure(entity, aggregate, value) {
  const [[operator, name]] = Object.entries(aggregate);
  const field = listFields(entity).find((candidate) => candidate.name === name);
  return formatAmount(field ?? { type: 'number' }, operator.slice(1), value);
}

const buildPath = (appId, entity) => url`/api/v1/apps/${appId}/collections/${entity.name}/query`;

/** One figure over all records that match. */
export async function loadFigure(appId, entity, aggregate, where, signal) {
  const body = { where, aggregate: { figure: aggregate }, total: false };
  const reply = await post(buildPath(appId, entity), body, { signal });
  return reply.data[0]?.figure ?? null;
}

/**
 * Load the groups of a field, each with a figure: those of a time in its order, others by their
 * size, or in the order of choices.
 * @param {string} appId @param {any} entity
 * @param {{by: any, period?: string, figure: any, where?: any, search?: string}} selection
 * @param {AbortSignal} [signal]
 */
export async function loadGroups(appId, entity, selection, signal) {
  const { by, period = 'month', figure, where, search } = selection;
  const isOrdered = isTime(by);
  const reply = await post(
    buildPath(appId, entity),
    {
      where,
      search,
      groupBy: [isOrdered ? { [`$${period}`]: by.name } : by.name],
      aggregate: { [NUMBER]: figure },
      orderBy: isOrdered ? by.name : NUMBER,
      order: 'desc',
      limit: isOrdered ? MOST_TIMES : MOST_GROUPS,
      total: false,
      timezone: isOrdered ? Intl.DateTimeFormat().resolvedOptions().timeZone : undefined,
    },
    { signal },
  );
  const values = reply.data.map((group) => group[by.name]);
  const titles = by.references ? await loadTitlesOf(appId, by.references, values) : {};
  const groups = reply.data.map((group) => {
    const value = group[by.name];
    return {
      key: String(value),
      title: value === null ? '–' : (titles[value] ?? String(value)),
      number: Number(group[NUMBER] ?? 0),
      text: formatFigure(entity, figure, group[NUMBER]),
      tint: tintOf(by, value),
      address: isOrdered ? null : writeAddress(appId, entity, by, value, where, search),
    };
  });
  if (!isOrdered) return sortChoices(groups, by.enum_values);
  const inOrder = groups.filter(({ key }) => key !== 'null').reverse();
  return fillGaps(inOrder, period, formatFigure(entity, figure, isAdded(figure) ? 0 : null));
}

/** Whether a period without records has the figure 0. */
const isAdded = (figure) => figure.$count !== undefined || figure.$sum !== undefined;

/** The table of the records of a group. */
function writeAddress(appId, entity, by, value, where, search) {
  const condition = { [by.name]: value === null ? { $isNull: true } : { $eq: value } };
  const query = { where: stringify(joinWheres(where, condition)), q: search };
  return { to: ['data', appId, entity.name], query };
}

/** Choices are in the order of the manifest. */
function sortChoices(groups, choices) {
  if (!choices?.length) return groups;
  const place = ({ key }) => (choices.includes(key) ? choices.indexOf(key) : choices.length);
  return groups.toSorted((left, right) => place(left) - place(right));
}

/** Periods without records are drawn, too. */
function fillGaps(groups, period, text) {
  const step = STEPS[period];
  if (!step || groups.length < 2) return groups;
  const byKey = new Map(groups.map((group) => [group.key, group]));
  const filled = [];
  let key = groups[0].key;
  while (key <= groups.at(-1).key && filled.length < MOST_TIMES) {
    filled.push(byKey.get(key) ?? { key, title: key, number: 0, text });
    key = step(key);
  }
  return filled.length < MOST_TIMES ? filled : groups;
}

/** The period behind another one, as the server writes them. */
const STEPS = {
  day: (key) => new Date(Date.parse(key) + 86_400_000).toISOString().slice(0, 10),
  month: (key) => {
    const [year, month] = key.split('-').map(Number);
    return new Date(Date.UTC(year, month)).toISOString().slice(0, 7);
  },
  quarter: (key) => {
    const [year, quarter] = key.split('-Q').map(Number);
    return quarter === 4 ? `${year + 1}-Q1` : `${year}-Q${quarter + 1}`;
  },
  year: (key) => String(Number(key) + 1),
};
