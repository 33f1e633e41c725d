/** The table: only rows in sight are in the page, so a million rows scroll as ten do. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { keepPlace, readPlace } from '../../core/router.js';
import { toWords } from '../../core/store.js';
import { readBlock, writeBlock } from './blocks.js';
import { STEPS, useCursor } from './cursor.js';
import { useEditing } from './editing.js';
import { findDrawnRows, makeTall, writeWidths } from './layout.js';
import { FootRow, HeadRow, Row } from './rows.js';

/**
 * @param {{appId: string, entity: any, fields: any[], data: any, editable: boolean,
 *   sorting: {name: string, order: string, change: (name: string) => void},
 *   selection: {ids: Set<string>, change: (ids: Set<string>) => void}, marks: Map<string, string>,
 *   headMenu: (field: any) => any, addColumn?: () => void, figures: Record<string, [string, any]>|null,
 *   onOpen: (row: any) => void, onSave: (row: any, change: object) => Promise<void>,
 *   onPaste: (pairs: [row: any, change: object][]) => Promise<void>}} props
 */
export function Grid(props) {
  const { appId, entity, fields, data, editable, sorting, selection, headMenu, figures } = props;
  const { rows, titles } = data;
  const box = useRef(null);
  const { top, first, end, measure } = useView(box, data);
  const { cursor, block, setCursor, move } = useCursor(box, rows, fields);
  const { editing, edit, finish } = useEditing(box, rows, fields, props.onSave);
  const { isAllChosen, toggle, toggleAll } = makeChoice(rows, selection);
  const keepPlace = usePlace(box, cursor, top, rows.length, setCursor);

  const open = (row) => {
    keepPlace();
    props.onOpen(row);
  };
  const editOrOpen = (index, col) => {
    const isEdited = editable && edit(rows[index], fields[col]);
    if (!isEdited) open(rows[index]);
  };
  const pick = (index, isSpan) => {
    toggle(index, isSpan ? cursor.row : index);
    setCursor({ ...cursor, row: index });
  };
  const point = (index, col, isBlock) => {
    box.current.focus({ preventScroll: true });
    move(index, col, isBlock);
  };
  const openMenu = () => {
    const name = CSS.escape(fields[cursor.col].name);
    box.current.querySelector(`[data-column="${name}"] .menu button`)?.click();
  };
  const press = (event) => {
    const isForGrid = !editing && event.target === box.current;
    const isCommand = event.ctrlKey || event.metaKey;
    if (!isForGrid || event.altKey) return;
    const act = isCommand ? commands[`Ctrl ${event.key}`] : commands[event.key];
    const step = !isCommand && STEPS[event.key];
    if (!step && !act) return;
    if (step) {
      event.preventDefault();
      move(cursor.row + step[0], cursor.col + step[1], event.shiftKey);
    } else if (rows[cursor.row]) {
      event.preventDefault();
      act();
    }
  };
  const commands = {
    Enter: () => open(rows[cursor.row]),
    e: () => editOrOpen(cursor.row, cursor.col),
    F2: () => editOrOpen(cursor.row, cursor.col),
    x: () => toggle(cursor.row),
    'Ctrl a': toggleAll,
    s: () => sorting.change(fields[cursor.col].name),
    m: openMenu,
    c: () => props.addColumn?.(),
    Home: () => move(0, cursor.col),
    End: () => move(rows.length - 1, cursor.col),
    Escape: () => setCursor({ ...cursor, from: null }),
  };
  const copy = (event) => {
    if (editing || event.target.closest?.('input')) return;
    event.clipboardData.setData('text/plain', writeBlock(rows, fields, block));
    event.preventDefault();
  };
  const paste = async (event) => {
    if (editing || !editable) return;
    event.preventDefault();
    const text = event.clipboardData.getData('text/plain');
    const pairs = readBlock(text, rows, fields, cursor);
    if (pairs.length) await props.onPaste(pairs);
  };

  const widths = writeWidths(fields);
  const act = { open, edit: editOrOpen, finish, pick, point };
  const { marks } = props;
  const state = { widths, cursor, block, editing, selection, marks };
  const shared = { appId, entity, fields, titles, act, ...state };
  return html`<div
    class="grid"
    ref=${box}
    role="grid"
    tabindex="0"
    aria-label=${toWords(entity.name)}
    aria-rowcount=${data.done ? rows.length + 1 : -1}
    aria-colcount=${fields.length + 1}
    aria-multiselectable="true"
    aria-activedescendant=${rows.length ? `c-${cursor.row}-${cursor.col}` : undefined}
    onScroll=${measure}
    onKeyDown=${press}
    onCopy=${copy}
    onPaste=${paste}
  >
    <${HeadRow}
      fields=${fields}
      widths=${widths}
      sorting=${sorting}
      headMenu=${headMenu}
      isAllChosen=${isAllChosen}
      toggleAll=${toggleAll}
      addColumn=${props.addColumn}
    />
    <div class="gs" role="presentation" ref=${makeTall(rows.length)}>
      ${rows
        .slice(first, end)
        .map(
          (row, offset) =>
            html`<${Row} key=${row.id} grid=${shared} row=${row} index=${first + offset} />`,
        )}
    </div>
    ${figures && html`<${FootRow} fields=${fields} figures=${figures} widths=${widths} />`}
  </div>`;
}

// --- which rows are in sight

/** Rows behind those that are drawn, at which the next page is loaded. */
const AHEAD = 25;

/**
 * The part of the box that is seen, and the rows that are drawn for it: from `first` up to the one
 * before `end`. The next page is loaded before its rows come into sight.
 */
export function useView(box, data) {
  const [view, setView] = useState({ top: 0, height: 600 });
  const count = data.rows.length;
  const { first, end } = findDrawnRows(view, count);
  const measure = () => {
    const element = box.current;
    if (element) setView({ top: element.scrollTop, height: element.clientHeight });
  };
  useEffect(() => {
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  useEffect(() => {
    if (end > count - AHEAD) data.more();
  }, [end, count, data.loading]);
  return { top: view.top, first, end, measure };
}

// --- where the reader is in a table: the back button leads to the same rows and the same cell

/** Milliseconds of rest before the place is kept: browsers bound how often a page may. */
const REST = 300;

/**
 * Restore the place once its rows are there, and keep each that follows. Returns what keeps it at
 * once, for before another page is opened.
 * @param {{current: any}} box @param {any} cursor @param {number} top @param {number} count
 * @param {(cursor: any) => void} setCursor
 */
export function usePlace(box, cursor, top, count, setCursor) {
  const waiting = useRef(readPlace());
  useEffect(() => {
    const place = waiting.current;
    if (!place || !count || !box.current) return;
    waiting.current = null;
    setCursor({ row: place.row, col: place.col, from: null });
    box.current.scrollTop = place.top;
    box.current.scrollLeft = place.left;
  }, [count]);
  const keep = () => {
    // An effect may still run when the table is gone: the history shows another page by then.
    if (!box.current) return;
    const { scrollTop, scrollLeft } = box.current;
    const { row, col } = cursor;
    keepPlace({ count, row, col, top: scrollTop, left: scrollLeft });
  };
  useEffect(() => {
    if (!count || waiting.current) return undefined;
    const timer = setTimeout(keep, REST);
    return () => clearTimeout(timer);
  }, [top, cursor.row, cursor.col, count]);
  return keep;
}

// --- selecting rows

/**
 * @param {any[]} rows @param {{ids: Set<string>, change: (ids: Set<string>) => void}} selection
 */
export function makeChoice(rows, selection) {
  const isAllChosen = rows.length > 0 && rows.every((row) => selection.ids.has(row.id));
  /** Select the rows between two, or give them up where the first is selected. */
  const toggle = (index, start = index) => {
    const isGivenUp = selection.ids.has(rows[index].id);
    const ids = new Set(selection.ids);
    for (const row of rows.slice(Math.min(index, start), Math.max(index, start) + 1)) {
      if (isGivenUp) {
        ids.delete(row.id);
      } else {
        ids.add(row.id);
      }
    }
    selection.change(ids);
  };
  const toggleAll = () => {
    const ids = isAllChosen ? [] : rows.map((row) => row.id);
    selection.change(new Set(ids));
  };
  return { isAllChosen, toggle, toggleAll };
}
