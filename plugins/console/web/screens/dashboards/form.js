/** The form of a tile: what it shows, of which table, and how wide it is. */
import { html, useState } from '../../core/kit.js';
import { openDialog } from '../../core/dialogs.js';
import { findPages, nameField, toWords } from '../../core/store.js';
import { icon } from '../../core/ui.js';
import { Choice } from '../../form/control.js';
import { listFields } from '../../parts/values.js';
import { Filter, fromWhere } from '../data/filter.js';
import { findBy, isTime, listFitting } from '../data/views.js';
import { COUNT, PERIODS, listFigures, readFigure, writeFigure } from '../layouts/chart.js';
import { nameOfPage } from './tiles.js';

const KINDS = [
  ['number', 'A number'],
  ['bar', 'Bars'],
  ['line', 'A line'],
  ['list', 'A list of records'],
  ['view', 'A saved view'],
];
const SINCE = [
  ['', 'Without a change'],
  ['1', 'With the change since yesterday'],
  ['7', 'With the change in 7 days'],
  ['30', 'With the change in 30 days'],
  ['365', 'With the change in a year'],
];
const ORDERS = [
  ['desc', 'Largest or newest first'],
  ['asc', 'Smallest or oldest first'],
];
const WIDTHS = ['1', '2', '3', '4'];
/** Fields that a list shows beside the title unless the user chooses others, and at most. */
const USUAL_COLUMNS = 3;
const MOST_COLUMNS = 8;
const LIMITS = ['5', '10', '20', '50'];

/**
 * Let the user make or change a tile.
 * @param {any} app @param {any[]} views @param {any} [tile]
 * @returns {Promise<any>} the tile; undefined where the user gave up
 */
export function openTileForm(app, views, tile) {
  const content = ({ close }) =>
    html`<${TileForm} app=${app} views=${views} tile=${tile} close=${close} />`;
  return openDialog(content, { label: 'Tile' });
}

const START = { kind: 'number', figure: COUNT };

function TileForm({ app, views, tile, close }) {
  const [draft, setDraft] = useState(() => ({ entity: app.entities[0]?.name, ...START, ...tile }));
  const change = (members) => setDraft((before) => ({ ...before, ...members }));
  const { kind } = draft;
  const entity = app.entities.find(({ name }) => name === draft.entity);
  const ofTables = views.filter((view) => view.entity);
  const parts = findPages('tile', app.id);
  const kinds = parts.length ? [...KINDS, ['plugin', 'A part of a plugin']] : KINDS;
  const isOfTable = kind !== 'view' && kind !== 'plugin';
  const isReady = isOfTable ? Boolean(entity) : Boolean(draft[kind]);
  const submit = (event) => {
    event.preventDefault();
    close(toTile(entity, draft));
  };
  const chooseTable = (name) =>
    change({
      entity: name,
      where: undefined,
      by: undefined,
      figure: COUNT,
      orderBy: undefined,
      columns: undefined,
    });
  return html`<form class="stack" onSubmit=${submit}>
    <h2>${tile ? 'Change the tile' : 'New tile'}</h2>
    <${Choice} title="Shows" choices=${kinds} chosen=${kind} change=${(name) => change({ kind: name })} />
    ${
      kind === 'view' &&
      html`<${Choice}
        title="View"
        choices=${[['', '…'], ...ofTables.map((view) => [view.id, nameView(view)])]}
        chosen=${draft.view ?? ''}
        change=${(id) => change({ view: id })}
      />`
    }
    ${
      kind === 'plugin' &&
      html`<${Choice}
        title="Part"
        choices=${[['', '…'], ...parts.map((page) => [nameOfPage(page), `${page.title} (${page.plugin})`])]}
        chosen=${draft.plugin ?? ''}
        change=${(name) => change({ plugin: name })}
      />`
    }
    ${
      isOfTable &&
      html`<${Choice}
        title="Table"
        choices=${app.entities.map(({ name, label }) => [name, label ?? toWords(name)])}
        chosen=${draft.entity}
        change=${chooseTable}
      />`
    }
    ${entity && isOfTable && html`<${Details} ...${{ app, entity, draft, change }} />`}
    <label class="field">
      <span>Title<i>optional</i></span>
      <input
        maxlength="80"
        value=${draft.title ?? ''}
        onInput=${(event) => change({ title: event.target.value })}
      />
    </label>
    <${Choice}
      title="Width in columns"
      choices=${WIDTHS}
      chosen=${String(draft.width ?? 1)}
      change=${(text) => change({ width: Number(text) })}
    />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary" disabled=${!isReady}>Done</button>
    </div>
  </form>`;
}

const nameView = (view) => `${view.name} (${toWords(view.entity).toLowerCase()})`;

function Details({ app, entity, draft, change }) {
  const { kind, where } = draft;
  const isChart = kind === 'bar' || kind === 'line';
  const by = isChart && findBy(entity, 'chart', draft.by);
  const figures = listFigures(entity).map(([aggregate, title]) => [writeFigure(aggregate), title]);
  const fields = listFields(entity).filter(({ name }) => name !== 'id');
  const filter = () => {
    const question = { appId: app.id, entity, where, onChange: (tree) => change({ where: tree }) };
    const content = ({ close }) => html`<${Filter} ...${question} close=${close} />`;
    openDialog(content, { label: 'Filter', wide: true });
  };
  const conditions = where ? (fromWhere(where)?.items.length ?? 1) : 0;
  return html`${
    kind !== 'list' &&
    html`<${Choice}
      title="Figure"
      choices=${figures}
      chosen=${writeFigure(draft.figure)}
      change=${(text) => change({ figure: readFigure(text) })}
    />`
  }
    ${
      by &&
      html`<${Choice}
        title="Groups by"
        choices=${listFitting(entity, 'chart').map((field) => [field.name, nameField(field)])}
        chosen=${by.name}
        change=${(name) => change({ by: name })}
      />`
    }
    ${
      by &&
      isTime(by) &&
      html`<${Choice}
        title="Each"
        choices=${PERIODS.map((name) => [name, toWords(name)])}
        chosen=${draft.period ?? 'month'}
        change=${(period) => change({ period })}
      />`
    }
    ${
      kind === 'number' &&
      html`<${Choice}
        title="Change"
        choices=${SINCE}
        chosen=${String(draft.since ?? '')}
        change=${(days) => change({ since: Number(days) || undefined })}
      />`
    }
    ${
      kind === 'list' &&
      html`<${Choice}
          title="Order by"
          choices=${fields.map((field) => [field.name, nameField(field)])}
          chosen=${draft.orderBy ?? 'created_at'}
          change=${(orderBy) => change({ orderBy })}
        />
        <${Choice}
          title="Order"
          choices=${ORDERS}
          chosen=${draft.order ?? 'desc'}
          change=${(order) => change({ order })}
        />
        <${Choice}
          title="Records"
          choices=${LIMITS}
          chosen=${String(draft.limit ?? LIMITS[0])}
          change=${(text) => change({ limit: Number(text) })}
        />
        <${Columns}
          fields=${fields}
          chosen=${chooseColumns(entity, draft)}
          change=${(columns) => change({ columns })}
        />`
    }
    <button type="button" class=${conditions ? 'on' : ''} onClick=${filter}>
      ${icon('filter')}${conditions ? `${conditions} conditions` : 'All records'}
    </button>`;
}

/** The columns of a list, those of the table that come first where none are chosen. */
const chooseColumns = (entity, { columns }) =>
  columns ?? entity.fields.slice(0, USUAL_COLUMNS).map(({ name }) => name);

function Columns({ fields, chosen, change }) {
  const toggle = (name) => {
    const isChosen = chosen.includes(name);
    change(isChosen ? chosen.filter((other) => other !== name) : [...chosen, name]);
  };
  return html`<fieldset class="choices columnlist">
    <legend>Columns</legend>
    ${fields.map(
      (field) => html`<label class="row check" key=${field.name}>
        <input
          type="checkbox"
          checked=${chosen.includes(field.name)}
          disabled=${!chosen.includes(field.name) && chosen.length >= MOST_COLUMNS}
          onChange=${() => toggle(field.name)}
        />
        ${nameField(field)}
      </label>`,
    )}
  </fieldset>`;
}

/** Only what the kind of a tile has is kept. */
function toTile(entity, draft) {
  const { kind, title, width, view, where, figure, by, period, since, orderBy, order, limit } =
    draft;
  const common = { kind, title: title || undefined, width };
  if (kind === 'plugin') return { ...common, plugin: draft.plugin };
  if (kind === 'view') return { ...common, view };
  const ofTable = { ...common, entity: entity.name, where };
  if (kind === 'number') return { ...ofTable, figure, since };
  if (kind === 'list') {
    return { ...ofTable, orderBy, order, limit, columns: chooseColumns(entity, draft) };
  }
  const field = findBy(entity, 'chart', by);
  return { ...ofTable, figure, by: field.name, period: isTime(field) ? period : undefined };
}
