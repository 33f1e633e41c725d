/** A table that follows the changes of others: values are replaced, and nothing moves. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { features } from '../../core/store.js';
import { icon } from '../../core/ui.js';
import { useFeed } from '../../feed/feed.js';

/** Milliseconds for which a change is marked. */
const MARKED = 1000;
/** Milliseconds in which changes are collected before they are shown. */
const COLLECTED = 60;
/** Milliseconds between two looks whether the user still types. */
const LOOK_AGAIN = 300;
/** Rows that are read again at once; beyond that the table is loaded again. */
const MOST = 200;

/** Whether the user is about to change something, or to choose. */
const isBusy = () =>
  document.querySelector('.celledit, dialog[open], .popup, .column.over') !== null;

/** What is there while a user is at work: selected rows, or a record beside the table. */
const IN_USE = '.gr.chosen, .panel';

/** Whether new rows may come in at the top: no user is at work in the table. */
function isWatched() {
  const grid = document.querySelector('.grid');
  if (!grid) return true; // the table was empty
  const isUsed = grid.contains(document.activeElement) || document.querySelector(IN_USE);
  return grid.scrollTop === 0 && !isUsed;
}

/**
 * @param {string} appId @param {any} entity @param {any} query of the table @param {any} data its rows
 * @returns {{marks: Map<string, string>, isOn: boolean, isPaused: boolean, waiting: number,
 *   added: number, toggle: () => void, showAdded: () => void}} `marks` are the changed rows by id
 */
export function useLive(appId, entity, query, data) {
  const [marks, setMarks] = useState(new Map());
  const [isPaused, setPaused] = useState(false);
  const [waiting, setWaiting] = useState(0);
  const [added, setAdded] = useState(0);
  const rows = useRef(data.rows);
  rows.current = data.rows;
  const paused = useRef(false);
  const pending = useRef(newPending());
  const timer = useRef(0);
  // A search is not followed: it compares words that a change does not have.
  const isOn = features.value.has('feed') && !query.search && data.position !== undefined;

  const take = (events) => {
    for (const event of events) note(event, rows.current, pending.current);
    setWaiting(countPending(pending.current));
    schedule(COLLECTED);
  };
  const schedule = (pause) => {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(show, pause);
  };
  const mark = (ids, kind) => {
    const set = (change) => setMarks((before) => change(new Map(before)));
    set((after) => ids.reduce((map, id) => map.set(id, kind), after));
    if (kind === 'gone') return;
    const unmark = (after) => {
      for (const id of ids) if (after.get(id) === kind) after.delete(id);
      return after;
    };
    setTimeout(() => set(unmark), MARKED);
  };
  const reload = () => {
    setAdded(0);
    setMarks(new Map());
    data.reload();
  };
  async function show() {
    if (paused.current || !countPending(pending.current)) return;
    if (isBusy()) {
      schedule(LOOK_AGAIN);
      return;
    }
    const { changed, gone, entered, isLost } = pending.current;
    pending.current = newPending();
    setWaiting(0);
    if (isLost || changed.size > MOST) {
      reload();
      return;
    }
    if (gone.size) mark([...gone], 'gone');
    if (changed.size) await replaceRows([...changed]);
    if (!entered.size) return;
    if (isWatched()) {
      reload();
      mark([...entered], 'changed');
    } else {
      setAdded((count) => count + entered.size);
    }
  }
  /** A feed has no entity tags, without which a cell could not be saved. */
  async function replaceRows(ids) {
    const path = url`/api/v1/apps/${appId}/collections/${entity.name}/query`;
    const body = { where: { id: { $in: ids } }, limit: ids.length, total: false, etag: true };
    try {
      const reply = await post(path, body);
      await data.replace(reply.data);
      mark(ids, 'changed');
    } catch {
      /* the server is away: the stream goes on, or the table is loaded again */
    }
  }
  const toggle = () => {
    paused.current = !paused.current;
    setPaused(paused.current);
    if (!paused.current) schedule(0);
  };
  useFeed({ appId, entity, where: query.where, since: data.position, isOn }, take);
  useEffect(() => {
    const forget = () => {
      pending.current = newPending();
      setWaiting(0);
      setAdded(0);
      setMarks(new Map());
    };
    forget();
    return () => clearTimeout(timer.current);
  }, [JSON.stringify(query), entity.name]);
  return { marks, isOn, isPaused, waiting, added, toggle, showAdded: reload };
}

/**
 * Run something a little after others have changed records of a query, once the user is not at work.
 * @param {string} appId @param {any} entity @param {any} query @param {() => void} run
 */
export function useChanges(appId, entity, query, run) {
  const latest = useRef(run);
  latest.current = run;
  const timer = useRef(0);
  const schedule = () => {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => (isBusy() ? schedule() : latest.current()), LOOK_AGAIN);
  };
  useFeed({ appId, entity, where: query.where, isOn: !query.search }, schedule);
  useEffect(() => () => clearTimeout(timer.current), []);
}

/** Changes that are not shown yet, by the ids of their rows. */
const newPending = () => ({
  changed: new Set(),
  gone: new Set(),
  entered: new Set(),
  isLost: false,
});

const countPending = ({ changed, gone, entered, isLost }) =>
  changed.size + gone.size + entered.size + (isLost ? 1 : 0);

/** Note an event for the rows that are loaded. What the user saved here is in its row already. */
function note({ type, id, record }, rows, pending) {
  if (type === 'resync') pending.isLost = true;
  const row = rows.find((candidate) => candidate.id === id);
  const isNews = !row || !record || record.updated_at !== row.updated_at;
  if (type === 'leave') {
    pending.changed.delete(id);
    pending.entered.delete(id);
    if (row) pending.gone.add(id);
  } else if (record && isNews) {
    pending.gone.delete(id);
    if (row) pending.changed.add(id);
    else if (type === 'enter') pending.entered.add(id);
  }
}

/** The button that pauses a table, and what waits to be shown. @param {{live: any}} props */
export function LiveButtons({ live }) {
  if (!live.isOn) return null;
  const { isPaused, waiting, added } = live;
  const hasNumber = isPaused && waiting > 0;
  const look = hasNumber ? 'on' : `icon ${isPaused ? 'on' : 'quiet'}`;
  const title = isPaused ? 'Show changes of others' : 'Pause: show no changes of others';
  return html`${
    added > 0 &&
    html`<button class="on" onClick=${live.showAdded}>
      ${icon('up2')}
      <span>${added}<span class="wide-only"> new</span></span>
    </button>`
  }
    <button
      class=${look}
      title=${title}
      aria-label=${title}
      aria-pressed=${isPaused}
      onClick=${live.toggle}
    >
      ${icon(isPaused ? 'play' : 'pause')}
      ${hasNumber && html`<small>${waiting}</small>`}
    </button>`;
}
