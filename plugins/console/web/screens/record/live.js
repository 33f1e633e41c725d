/** A record that follows the changes of others: shown at once, or announced while the user types. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { guards } from '../../core/router.js';
import { useFeed } from '../../feed/feed.js';

/** Milliseconds for which a change is marked. */
const MARKED = 1000;
/** Milliseconds until a change is shown: what the user saves here has come back by then. */
const COLLECTED = 250;

/**
 * @param {{appId: string, entity: any, row: any, reload: () => void}} props `row` is the record as
 *   it is shown
 * @returns {{later: ''|'changed'|'gone', isMarked: boolean}} `later` is what is not shown yet
 */
export function useLiveRecord({ appId, entity, row, reload }) {
  const [later, setLater] = useState(/** @type {''|'changed'|'gone'} */ (''));
  const [isMarked, setMarked] = useState(false);
  const shown = useRef(row);
  shown.current = row;
  const timers = useRef([]);
  const wait = (run, pause) => timers.current.push(setTimeout(run, pause));
  const show = (record) => {
    if (record.updated_at === shown.current?.updated_at) return;
    if (guards.size) {
      setLater('changed'); // what the user typed stays
      return;
    }
    reload();
    setMarked(true);
    wait(() => setMarked(false), MARKED);
  };
  const take = (events) => {
    const event = events.findLast(({ type }) => type !== 'ready');
    if (!event) return;
    if (event.type === 'leave') setLater('gone');
    else if (event.type === 'resync') wait(reload, 0);
    else if (event.record) wait(() => show(event.record), COLLECTED);
  };
  useFeed({ appId, entity, where: { id: row?.id }, isOn: Boolean(row) }, take);
  useEffect(() => setLater(''), [row]);
  useEffect(() => () => timers.current.forEach(clearTimeout), []);
  return { later, isMarked };
}

/** Says what happened to a record meanwhile. @param {{later: string, reload: () => void}} props */
export function LaterNotice({ later, reload }) {
  if (later === 'gone')
    return html`<div class="notice bad" role="status">
      This record was deleted meanwhile, or is not yours to see any more.
    </div>`;
  if (later === 'changed')
    return html`<div class="notice" role="status">
      Another user has changed this record.
      <button onClick=${reload}>Discard mine and show it</button>
    </div>`;
  return null;
}
