/** Choosing a record to link to: the server searches, so a table of any size works. */
import { focusNow, html, useEffect, useLayoutEffect, useRef, useState } from '../core/kit.js';
import { openDialog } from '../core/dialogs.js';
import { may, toWords } from '../core/store.js';
import { IconButton, icon } from '../core/ui.js';
import { findRecords, loadTitlesOf } from '../parts/titles.js';

/** Milliseconds of rest before the server is asked for what is typed. */
const REST = 120;
/** Clicking an item must not take the focus from the input: losing it closes the list. */
const keepFocus = (event) => event.preventDefault();

/**
 * @param {{appId: string, target: string, value: string|null,
 *   onChange: (id: string|null, title?: string) => void, id?: string, label?: string,
 *   autofocus?: boolean, onCancel?: () => void}} props
 */
export function Picker({ appId, target, value, onChange, id, label, autofocus, onCancel }) {
  const title = useTitleOf(appId, target, value);
  /** What is typed; null while the list is closed. */
  const [text, setText] = useState(autofocus ? '' : null);
  const [at, setAt] = useState(0);
  const hits = useHits(appId, target, text);
  const box = useRef(null);
  const isOpen = text !== null;
  useEffect(() => setAt(0), [hits]);

  const close = () => setText(null);
  const open = () => {
    if (!isOpen) setText('');
  };
  const pick = (hit) => {
    close();
    onChange(hit ? hit.id : null, hit?.title);
  };
  const cancel = () => {
    close();
    onCancel?.();
  };
  const make = async () => {
    const row = await openNewRecord(appId, target);
    if (row) onChange(row.id);
    close();
  };
  const acts = {
    ArrowDown: () => (isOpen ? setAt(Math.min(hits.length - 1, at + 1)) : open()),
    ArrowUp: () => setAt(Math.max(0, at - 1)),
    Escape: cancel,
    Enter: () => hits[at] && pick(hits[at]),
  };
  const press = (event) => {
    const act = acts[event.key];
    // A closed list leaves the keys but these to the form around it.
    const isForForm = !isOpen && event.key !== 'ArrowDown' && event.key !== 'Escape';
    if (!act || isForForm) return;
    if (event.key === 'Enter' || event.key === 'Escape') event.stopPropagation();
    // Without a list, Escape closes the dialog around it, too.
    if (isOpen || event.key === 'ArrowDown') event.preventDefault();
    act();
  };
  const blur = (event) => {
    if (!box.current?.contains(event.relatedTarget)) cancel();
  };
  const tableName = toWords(target.replace('core:', '')).toLowerCase();
  return html`<span class="picker" ref=${box} onFocusOut=${blur}>
    <input
      id=${id}
      aria-label=${label}
      ref=${autofocus ? focusNow : null}
      role="combobox"
      aria-expanded=${isOpen}
      aria-controls=${`${id}-list`}
      autocomplete="off"
      placeholder=${`Search ${tableName}…`}
      value=${isOpen ? text : title}
      onClick=${open}
      onInput=${(event) => setText(event.target.value)}
      onKeyDown=${press}
    />
    ${value && html`<${RemoveButton} remove=${() => pick(null)} />`}
    ${
      isOpen &&
      html`<${List} id=${`${id}-list`} anchor=${box} hits=${hits} at=${at} pick=${pick}>
        ${mayMake(appId, target) && html`<${MakeItem} make=${make} />`}
      <//>`
    }
  </span>`;
}

const mayMake = (appId, target) => target !== 'core:users' && may(appId, target, 'create');

const RemoveButton = ({ remove }) =>
  html`<${IconButton} isSmall glyph="x" label="Remove the link" onClick=${remove} />`;

/** What was found; the children are below it. */
function List({ id, anchor, hits, at, pick, children }) {
  const list = useRef(null);
  useTopLayer(anchor, list);
  return html`<div
    class="popup"
    popover="manual"
    ref=${list}
    id=${id}
    role="listbox"
    aria-label="Records"
  >
    ${hits.map(
      (hit, index) => html`<button
        type="button"
        role="option"
        key=${hit.id}
        aria-selected=${index === at}
        class=${index === at ? 'at' : ''}
        onMouseDown=${keepFocus}
        onClick=${() => pick(hit)}
      >
        ${hit.title}
      </button>`,
    )}
    ${!hits.length && html`<div class="pad dim">Nothing found.</div>`}
    ${children}
  </div>`;
}

const MakeItem = ({ make }) => html`<hr />
  <button type="button" onMouseDown=${keepFocus} onClick=${make}>${icon('plus')}New record</button>`;

/** Let the user make the record that is missing. @returns {Promise<any>} */
async function openNewRecord(appId, target) {
  const { NewRecord } = await import('../screens/record/edit.js');
  const content = ({ close }) =>
    html`<${NewRecord} appId=${appId} entityName=${target} done=${close} />`;
  return openDialog(content, { label: `New record in ${target}` });
}

/** Records that a text finds, some time after the last letter; none for null. */
function useHits(appId, target, text) {
  const [hits, setHits] = useState([]);
  useEffect(() => {
    if (text === null) return undefined;
    const abort = new AbortController();
    const search = async () => {
      const records = await findRecords(appId, target, text, abort.signal).catch(() => []);
      if (!abort.signal.aborted) setHits(records);
    };
    const timer = setTimeout(search, text ? REST : 0);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text]);
  return hits;
}

/** The title of the record that is linked; its id where it cannot be read. */
function useTitleOf(appId, target, id) {
  const [title, setTitle] = useState('');
  useEffect(() => {
    setTitle('');
    if (!id) return undefined;
    let isLate = false;
    const load = async () => {
      const titles = await loadTitlesOf(appId, target, [id]).catch(() => ({ [id]: id }));
      if (!isLate) setTitle(titles[id]);
    };
    load();
    return () => {
      isLate = true;
    };
  }, [id]);
  return title;
}

// --- a list that belongs to an input: drawn over everything else, whatever scrolls or is clipped
// between them. Styles are set through the object model: the policy allows no style attribute.

/** Pixels between the input and its list, and between the list and the edge of the window. */
const GAP = 4;
/** Height in pixels that is enough to open downwards. */
const ENOUGH = 260;

/**
 * Keep a list with the attribute `popover="manual"` beside its input as long as it is there; with
 * `isOver` it covers the input.
 * @param {{current: any}} anchor @param {{current: any}} list
 */
export function useTopLayer(anchor, list, isOver = false) {
  useLayoutEffect(() => {
    const measure = () => {
      const box = anchor.current.getBoundingClientRect();
      return isOver ? new DOMRect(box.x, box.y - GAP, box.width, 0) : box;
    };
    const follow = () => place(list.current, measure());
    list.current.showPopover();
    follow();
    addEventListener('scroll', follow, true);
    addEventListener('resize', follow);
    return () => {
      removeEventListener('scroll', follow, true);
      removeEventListener('resize', follow);
    };
  }, []);
}

/** Below where there is room, else above. */
function place(list, box) {
  const below = innerHeight - box.bottom - 2 * GAP;
  const above = box.top - 2 * GAP;
  const isBelow = below >= ENOUGH || below >= above;
  const left = Math.min(box.left, innerWidth - list.offsetWidth - GAP);
  const { style } = list;
  style.left = `${Math.max(GAP, left)}px`;
  style.minWidth = `${box.width}px`;
  style.top = isBelow ? `${box.bottom + GAP}px` : 'auto';
  style.bottom = isBelow ? 'auto' : `${innerHeight - box.top + GAP}px`;
  style.maxHeight = `${Math.min(ENOUGH * 1.5, isBelow ? below : above)}px`;
}
