/** Tiles of a dashboard: a number, a chart, a list of records, or a view. */
import { html } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { A } from '../../core/router.js';
import { findPages, nameField, toWords } from '../../core/store.js';
import { Loaded, useLoad } from '../../core/ui.js';
import { Tile as PluginPart } from '../../kit/tile.js';
import { Chart } from '../../parts/chart.js';
import { findTitleFields, loadLinkTitles, makeTitle } from '../../parts/titles.js';
import { Value, listFields } from '../../parts/values.js';
import { buildQuery, joinWheres, readWhere } from '../data/filter.js';
import { findBy, isTime } from '../data/views.js';
import {
  COUNT,
  formatFigure,
  loadFigure,
  loadGroups,
  nameFigure,
  readFigure,
} from '../layouts/chart.js';

const DAY = 86_400_000;
/** Digits that the difference of two numbers has without noise. */
const EXACT = 15;
const MOST_ROWS = 5;
const MOST_COLUMNS = 8;
const KINDS = { number: NumberTile, bar: ChartTile, line: ChartTile, list: ListTile };

const findField = (entity, name) => listFields(entity).find((field) => field.name === name);
const nameEntity = (entity) => entity.label ?? toWords(entity.name);

/** A view by its id, or a declared one by its name. */
const findView = (views, name) =>
  views.find((view) => view.id === name) ??
  views.find((view) => view.declared && view.entity && view.name === name);

/** The table of a tile, or of its view; undefined where it has none. */
export function findEntityOf(app, tile, views) {
  const name = tile.kind === 'view' ? findView(views, tile.view)?.entity : tile.entity;
  return app.entities.find((entity) => entity.name === name);
}

/** How a tile names a part of a plugin. */
export const nameOfPage = (page) => `${page.plugin}/${page.id}`;

/** Names of fields that a tile needs and the table does not have, for this user at least. */
function listMissing(entity, tile) {
  const figure = Object.values(tile.figure ?? COUNT).filter((name) => name !== '*');
  const names = [tile.by, tile.orderBy, ...figure, ...(tile.columns ?? [])].filter(Boolean);
  return names.filter((name) => !findField(entity, name));
}

/** A view as a tile: a chart as a chart, another one as the first records. */
function toTile(view) {
  const { state } = view;
  const isChart = state.layout === 'chart';
  return {
    kind: isChart ? (state.chart ?? 'bar') : 'list',
    title: view.name,
    entity: view.entity,
    by: state.by,
    period: state.period,
    figure: isChart ? readFigure(state.figure) : undefined,
    columns: state.columns?.split(','),
    state,
  };
}

/** What a tile is called where it has no title of its own. */
function describeTile(entity, tile) {
  const { kind, by, figure = COUNT } = tile;
  if (kind === 'list') return nameEntity(entity);
  const what = figure.$count === '*' ? '' : `: ${nameFigure(entity, figure).toLowerCase()}`;
  const name = nameEntity(entity) + what;
  const field = by && findField(entity, by);
  return field ? `${name} by ${nameField(field).toLowerCase()}` : name;
}

/**
 * @param {{app: any, tile: any, views: any[], rounds: Record<string, number>, children?: any}} props
 *   `children` are buttons that change it; `rounds` count by table how often it is loaded.
 */
export function Tile(props) {
  if (props.tile.kind === 'plugin') return html`<${PluginTile} ...${props} />`;
  return html`<${RecordsTile} ...${props} />`;
}

/** A tile of a plugin; it gets the id of the app, and how often the user asked for it again. */
function PluginTile({ app, tile, rounds, children }) {
  const page = findPages('tile', app.id).find((offered) => nameOfPage(offered) === tile.plugin);
  const title = tile.title || page?.title || 'Tile';
  return html`<section class="card tile" aria-label=${title}>
    <div class="row"><h2 class="cut grow">${title}</h2>${children}</div>
    ${
      page
        ? html`<${PluginPart} page=${page} app=${app.id} round=${rounds['']} />`
        : html`<p class="notice warn">No plugin offers “${tile.plugin}” to you.</p>`
    }
  </section>`;
}

function RecordsTile({ app, tile, views, rounds, children }) {
  const view = tile.kind === 'view' ? findView(views, tile.view) : null;
  const shown = view ? { ...toTile(view), ...(tile.title && { title: tile.title }) } : tile;
  const entity = app.entities.find(({ name }) => name === shown.entity);
  const round = rounds[''] + (rounds[shown.entity] ?? 0);
  const missing = entity ? listMissing(entity, shown) : [];
  const title = shown.title || (entity && !missing.length && describeTile(entity, shown)) || 'Tile';
  const address = view ? { ...view.state, view: view.id } : { where: writeWhere(tile.where) };
  const Kind = KINDS[shown.kind];
  return html`<section class="card tile" aria-label=${title}>
    <div class="row">
      <h2 class="cut grow">
        ${
          entity
            ? html`<${A} to=${['data', app.id, entity.name]} query=${address}>${title}<//>`
            : title
        }
      </h2>
      ${children}
    </div>
    ${
      entity && !missing.length
        ? html`<${Kind} app=${app} entity=${entity} tile=${shown} round=${round} />`
        : html`<p class="notice warn">${sayGone(tile, shown, missing)}</p>`
    }
  </section>`;
}

const writeWhere = (where) => (where ? JSON.stringify(where) : undefined);

function sayGone(tile, shown, missing) {
  if (missing.length)
    return `“${missing[0]}” is no longer a field of ${shown.entity}, or you may not read it.`;
  if (tile.kind === 'view' && shown === tile) return 'This view is gone, or not for you.';
  return `The table “${shown.entity}” is gone, or you may not read it.`;
}

/** What a tile asks the server for. */
function buildSelection(entity, { where, orderBy, order, state }) {
  if (state) return buildQuery(entity, readWhere(state.where), state);
  return { where, orderBy: orderBy ?? 'created_at', order: order ?? 'desc' };
}

function NumberTile({ app, entity, tile, round }) {
  const { figure = COUNT, since, where } = tile;
  const loaded = useLoad(
    async (signal) => {
      const now = await loadFigure(app.id, entity, figure, where, signal);
      if (!since) return { now };
      const start = new Date(Date.now() - since * DAY).toISOString();
      const former = joinWheres(where, { created_at: { $lt: start } });
      const before = await loadFigure(app.id, entity, figure, former, signal);
      const change = Number(now ?? 0) - Number(before ?? 0);
      return { now, change: Number(change.toPrecision(EXACT)) };
    },
    [JSON.stringify([figure, since, where]), round],
  );
  return html`<${Loaded} of=${loaded}>
    ${({ now, change }) => html`<div class="big">${formatFigure(entity, figure, now)}</div>
      ${
        Number.isFinite(change) &&
        html`<p class=${change < 0 ? 'fall' : 'rise'}>
          ${change < 0 ? '−' : '+'}${formatFigure(entity, figure, Math.abs(change))}
          <span class="dim"> in ${since} days</span>
        </p>`
      }`}
  <//>`;
}

function ChartTile({ app, entity, tile, round }) {
  const { kind, period, figure = COUNT } = tile;
  const by = findBy(entity, 'chart', tile.by);
  const selection = { ...buildSelection(entity, tile), by, period, figure };
  const loaded = useLoad(
    (signal) => loadGroups(app.id, entity, selection, signal),
    [JSON.stringify(selection), round],
  );
  return html`<${Loaded} of=${loaded}>
    ${(groups) => html`<${Chart}
      groups=${groups}
      isLine=${kind === 'line'}
      isOrdered=${isTime(by)}
      names=${[nameField(by), nameFigure(entity, figure)]}
    />`}
  <//>`;
}

function ListTile({ app, entity, tile, round }) {
  const { limit = MOST_ROWS } = tile;
  const ofTitle = findTitleFields(entity);
  const columns = (tile.columns ?? [])
    .filter((name) => !ofTitle.includes(name))
    .map((name) => findField(entity, name))
    .slice(0, MOST_COLUMNS);
  const body = { ...buildSelection(entity, tile), limit, total: false };
  const loaded = useLoad(
    async (signal) => {
      const path = url`/api/v1/apps/${app.id}/collections/${entity.name}/query`;
      const { data } = await post(path, body, { signal });
      const byField = await loadLinkTitles(app.id, entity, data);
      return { rows: data, titles: Object.assign({}, ...Object.values(byField)) };
    },
    [JSON.stringify(body), round],
  );
  return html`<${Loaded} of=${loaded}>
    ${({ rows, titles }) =>
      rows.length
        ? html`<div class="scrollx">
            <table class="list">
              <thead class="unseen">
                <tr>
                  <th>${nameEntity(entity)}</th>
                  ${columns.map((field) => html`<th key=${field.name}>${nameField(field)}</th>`)}
                </tr>
              </thead>
              <tbody>
                ${rows.map(
                  (row) => html`<tr key=${row.id}>
                    <td>
                      <${A} to=${['record', app.id, entity.name, row.id]}>${makeTitle(entity, row)}<//>
                    </td>
                    ${columns.map((field) => {
                      const value = row[field.name];
                      return html`<td key=${field.name}>
                        <${Value} field=${field} value=${value} title=${titles[value]} appId=${app.id} />
                      </td>`;
                    })}
                  </tr>`,
                )}
              </tbody>
            </table>
          </div>`
        : html`<p class="dim">No records.</p>`}
  <//>`;
}
