/** Dashboards of an app: tiles on a grid, made by clicking, for oneself or for a role. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { get, post, remove } from '../../core/api.js';
import { confirm, useUnsaved } from '../../core/dialogs.js';
import { A, go, leave } from '../../core/router.js';
import { Head, useEvery } from '../../core/screen.js';
import { describe, listReadable } from '../../core/store.js';
import { Empty, IconButton, Loaded, attempt, icon, toast, useLoad } from '../../core/ui.js';
import { useFeeds } from '../../feed/feed.js';
import { WithApp } from '../../parts/apppick.js';
import { isSame } from '../../parts/values.js';
import { VIEWS, changeView, openSave, readContent } from '../data/views.js';
import { openTileForm } from './form.js';
import { Tile, findEntityOf } from './tiles.js';

/** Milliseconds between two loads of the tiles where changes are not followed. */
const PAUSE = 30_000;
/** Milliseconds in which changes are collected before the tiles of their table are loaded again. */
const COLLECTED = 1000;
const MOST_TILES = 24;
const WIDEST = 4;

export default function Dashboards({ parts: [appId, id] }) {
  return html`<${WithApp}
    screen="dashboards"
    appId=${appId}
    fits=${(app) => listReadable(app).length > 0}
  >
    ${(chosen, picker) =>
      html`<${OfApp} key=${chosen} appId=${chosen} id=${id} picker=${picker} />`}
  <//>`;
}

function OfApp({ appId, id, picker }) {
  const loaded = useLoad(
    async (signal) => {
      const [views, app] = await Promise.all([
        get(VIEWS, { app: appId }, { signal }),
        describe(appId),
      ]);
      return { views, app };
    },
    [appId],
  );
  const create = async () => {
    const submit = (content) => post(VIEWS, { app: appId, ...content, state: { tiles: [] } });
    const saved = await openSave({ title: 'New dashboard', appId, submit });
    if (!saved) return;
    loaded.reload();
    go(['dashboards', appId, saved.id]);
  };
  const request = { method: 'GET', path: VIEWS, query: { app: appId } };
  const newButton = html`<button onClick=${create}>${icon('plus')}New dashboard</button>`;
  return html`<${Loaded} of=${loaded}>
    ${({ views, app }) => {
      const dashboards = views.filter((view) => !view.entity);
      const shown = id ? dashboards.find((view) => view.id === id) : dashboards[0];
      if (shown) {
        const key = `${shown.id} ${shown.version}`;
        return html`<${Dashboard}
          key=${key}
          ...${{ app, views, dashboards, picker, newButton, request, dashboard: shown }}
          reload=${loaded.reload}
        />`;
      }
      return html`<${Head} title="Dashboards" request=${request}>${picker}${newButton}<//>
        <${Tabs} appId=${appId} dashboards=${dashboards} />
        <${Empty} title=${id ? 'There is no such dashboard' : 'No dashboard yet'} glyph="chart">
          Numbers, charts and lists of this app on one page.
        <//>`;
    }}
  <//>`;
}

function Tabs({ appId, dashboards, shown }) {
  if (dashboards.length < 2 && shown) return null;
  return html`<nav class="tabs" aria-label="Dashboards">
    ${dashboards.map(
      (dashboard) => html`<${A}
        key=${dashboard.id}
        to=${['dashboards', appId, dashboard.id]}
        aria-current=${dashboard.id === shown?.id ? 'page' : undefined}
      >
        ${dashboard.name}
      <//>`,
    )}
  </nav>`;
}

function Dashboard({ app, views, dashboards, dashboard, picker, newButton, request, reload }) {
  const stored = dashboard.state.tiles;
  /** The tiles while they are edited; null while they are only shown. */
  const [draft, setDraft] = useState(stored.length || !dashboard.editable ? null : stored);
  useUnsaved(draft !== null && !isSame(draft, stored));
  const tiles = draft ?? stored;
  const { rounds, refresh } = useRounds(app, tiles, views);

  const save = (content) =>
    attempt(async () => {
      const { view, isMine } = await changeView(dashboard, content);
      setDraft(null);
      if (isMine) toast(`“${view.name}” saved.`);
      reload();
    });
  const saveTiles = () => save({ ...readContent(dashboard), state: { tiles: draft } });
  const rename = async () => {
    const start = { name: dashboard.name, role: dashboard.role };
    const submit = async (content) => content;
    const content = await openSave({ title: 'Name and role', appId: app.id, start, submit });
    if (content) await save({ ...content, state: { tiles } });
  };
  const drop = async () => {
    const isSure = await confirm(`Delete “${dashboard.name}”?`, 'Its records stay.', {
      yes: 'Delete',
    });
    if (!isSure) return;
    await attempt(async () => {
      await remove(`${VIEWS}/${dashboard.id}`);
      reload();
      leave(['dashboards', app.id]);
    });
  };
  const edit = async (index) => {
    const tile = await openTileForm(app, views, draft[index]);
    if (tile) setDraft(index === undefined ? [...draft, tile] : draft.with(index, tile));
  };
  const move = (index, step) => {
    const moved = draft.toSpliced(index, 1);
    setDraft(moved.toSpliced(index + step, 0, draft[index]));
  };
  const grow = (index, step) => {
    const tile = draft[index];
    const width = Math.max(1, Math.min(WIDEST, (tile.width ?? 1) + step));
    setDraft(draft.with(index, { ...tile, width }));
  };

  const buttons = draft
    ? html`<button onClick=${rename}>${icon('edit')}Name and role</button>
        <button onClick=${drop}>${icon('trash')}Delete</button>
        <button onClick=${() => setDraft(null)}>Cancel</button>
        <button class="primary" onClick=${saveTiles}>Save</button>`
    : html`${picker}
        <button class="icon quiet" aria-label="Reload" title="Reload" onClick=${refresh}>
          ${icon('refresh')}
        </button>
        ${
          dashboard.editable &&
          html`<button onClick=${() => setDraft(stored)}>${icon('edit')}Edit</button>`
        }
        ${newButton}`;
  return html`<${Head}
      title=${dashboard.name}
      sub=${dashboard.declared ? 'From the manifest of the app' : dashboard.role}
      request=${request}
    >
      ${buttons}
    <//>
    ${!draft && html`<${Tabs} appId=${app.id} dashboards=${dashboards} shown=${dashboard} />`}
    <div class="tiles">
      ${tiles.map(
        (tile, index) => html`<div key=${index} class=${`span${tile.width ?? 1}`}>
          <${Tile} app=${app} tile=${tile} views=${views} rounds=${rounds}>
            ${
              draft &&
              html`<${TileButtons}
                name=${`tile ${index + 1}`}
                isFirst=${index === 0}
                isLast=${index === draft.length - 1}
                edit=${() => edit(index)}
                move=${(step) => move(index, step)}
                grow=${(step) => grow(index, step)}
                drop=${() => setDraft(draft.toSpliced(index, 1))}
              />`
            }
          <//>
        </div>`,
      )}
      ${
        draft &&
        draft.length < MOST_TILES &&
        html`<button class="card offer" onClick=${() => edit()}>${icon('plus')}<b>Add a tile</b></button>`
      }
    </div>`;
}

/** Count how often the tiles of each table are to be loaded; '' counts for all tiles. */
function useRounds(app, tiles, views) {
  const [rounds, setRounds] = useState({ '': 0 });
  const add = (names) =>
    setRounds((before) => {
      const counted = names.map((name) => [name, (before[name] ?? 0) + 1]);
      return { ...before, ...Object.fromEntries(counted) };
    });
  const refresh = () => add(['']);
  const shown = new Set(tiles.map((tile) => findEntityOf(app, tile, views)?.name));
  const names = app.entities.map(({ name }) => name).filter((name) => shown.has(name));
  const changed = useRef(new Set());
  const timer = useRef(0);
  const load = () => {
    timer.current = 0;
    add([...changed.current]);
    changed.current.clear();
  };
  const take = (events) => {
    for (const { type, entity } of events) {
      if (type === 'resync') names.forEach((name) => changed.current.add(name));
      else if (entity) changed.current.add(entity);
    }
    if (changed.current.size) timer.current ||= window.setTimeout(load, COLLECTED);
  };
  const isFollowed = useFeeds(app.id, names, take);
  useEvery(PAUSE, () => !isFollowed && refresh(), [isFollowed]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return { rounds, refresh };
}

function TileButtons({ name, isFirst, isLast, edit, move, grow, drop }) {
  const act = (glyph, title, run, disabled = false) =>
    html`<${IconButton}
      isSmall
      glyph=${glyph}
      label=${`${title}: ${name}`}
      title=${title}
      disabled=${disabled}
      onClick=${run}
    />`;
  return html`<span class="nowrap">
    ${act('left', 'Move to the left', () => move(-1), isFirst)}
    ${act('right', 'Move to the right', () => move(1), isLast)}
    ${act('down', 'Narrower', () => grow(-1))} ${act('up', 'Wider', () => grow(1))}
    ${act('edit', 'Change', edit)} ${act('trash', 'Remove', drop)}
  </span>`;
}
