/** The table: only rows in sight are in the page, so a million rows scroll as ten do. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { toWords } from '../../core/store.js';
import { fail } from '../../core/ui.js';
import { parseText, toText } from '../../parts/values.js';
import { readBlock, writeBlock } from './clipboard.js';
import { FootRow, HeadRow } from './edges.js';
import { fitsCell, isEditable } from './editor.js';
import { clamp, findBlock, findDrawnRows, makeTall, reveal, writeWidths } from './geometry.js';
import { usePlace } from './place.js';
import { Row } from './row.js';

/** Rows behind those that are drawn, at which the next page is loaded. */
const AHEAD = 25;
/** Keys that move the current cell: by rows and columns. */
const STEPS = {
  ArrowDown: [1, 0],
  j: [1, 0],
  ArrowUp: [-1, 0],
  k: [-1, 0],
  ArrowRight: [0, 1],
  l: [0, 1],
  ArrowLeft: [0, -1],
  h: [0, -1],
  PageDown: [15, 0],
  PageUp: [-15, 0],
};

/**
 * @param {{appId: string, entity: any, fields: any[], data: any, editable: boolean,
 *   sorting: {name: string, order: string, change: (name: string) => void},
 *   selection: {ids: Set<string>, change: (ids: Set<string>) => void},
 *   headMenu: (field: any) => any, figures: Record<string, [string, any]>|null,
 *   onOpen: (row: any) => void, onSave: (row: any, change: object) => Promise<void>,
 *   onPaste: (pairs: [row: any, change: object][]) => Promise<void>}} props
 */
export function Grid(props) {
  const { appId, entity, fields, data, editable, sorting, selection, headMenu, figures } = props;
  const { rows, titles } = data;
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  /** The current cell; `from` is where a block that ends in it began. */
  const [cursor, setCursor] = useState({ row: 0, col: 0, from: null });
  const [editing, setEditing] = useState(null);
  const keepPlace = usePlace(box, cursor, view.top, rows.length, setCursor);
  const { first, end } = findDrawnRows(view, rows.length);
  useEffect(() => {
    const measure = () => {
      if (box.current) setView({ top: box.current.scrollTop, height: box.current.clientHeight });
    };
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  useEffect(() => {
    if (end > rows.length - AHEAD) data.more();
  }, [end, rows.length, data.loading]);

  const focusGrid = () => box.current.focus({ preventScroll: true });
  const move = (row, col, isBlock = false) => {
    const start = cursor.from ?? { row: cursor.row, col: cursor.col };
    const next = {
      row: clamp(row, 0, rows.length - 1),
      col: clamp(col, 0, fields.length - 1),
      from: isBlock ? start : null,
    };
    setCursor(next);
    reveal(box.current, next, fields);
  };
  const open = (row) => {
    keepPlace();
    props.onOpen(row);
  };
  const edit = (index, col) => {
    if (editing?.refused) {
      box.current.querySelector('.celledit input')?.focus();
      return;
    }
    const field = fields[col];
    const row = rows[index];
    if (editable && isEditable(field) && fitsCell(row[field.name])) {
      setEditing({ id: row.id, name: field.name, round: 0 });
    } else {
      open(row);
    }
  };
  /** Save what was typed. What is refused stays in its cell, to be corrected. */
  const finish = async (text) => {
    const row = rows.find((candidate) => candidate.id === editing.id);
    const field = fields.find((candidate) => candidate.name === editing.name);
    setEditing(null);
    focusGrid();
    const isChanged = row && text !== undefined && text !== toText(field, row[field.name]);
    if (!isChanged) return;
    try {
      await props.onSave(row, { [field.name]: parseText(field, text) });
    } catch (error) {
      fail(error);
      const refused = { text, problem: error.message };
      setEditing((later) => later ?? { ...editing, round: editing.round + 1, refused });
    }
  };
  const toggle = (index, start = index) => {
    const isOn = !selection.ids.has(rows[index].id);
    const span = rows.slice(Math.min(index, start), Math.max(index, start) + 1);
    const ids = new Set(selection.ids);
    for (const row of span) {
      if (isOn) ids.add(row.id);
      else ids.delete(row.id);
    }
    selection.change(ids);
  };
  const pick = (index, isSpan) => {
    toggle(index, isSpan ? cursor.row : index);
    setCursor({ ...cursor, row: index });
  };
  const point = (row, col, isBlock) => {
    focusGrid();
    move(row, col, isBlock);
  };
  const isAllChosen = rows.length > 0 && rows.every((row) => selection.ids.has(row.id));
  const toggleAll = () => selection.change(new Set(isAllChosen ? [] : rows.map((row) => row.id)));
  const openMenu = () => {
    const { name } = fields[cursor.col];
    box.current.querySelector(`[data-column="${CSS.escape(name)}"] .menu button`)?.click();
  };

  const commands = {
    Enter: () => open(rows[cursor.row]),
    e: () => edit(cursor.row, cursor.col),
    F2: () => edit(cursor.row, cursor.col),
    x: () => toggle(cursor.row),
    s: () => sorting.change(fields[cursor.col].name),
    m: openMenu,
    Home: () => move(0, cursor.col),
    End: () => move(rows.length - 1, cursor.col),
    Escape: () => setCursor({ ...cursor, from: null }),
  };
  const press = (event) => {
    const isForGrid = !editing && event.target === box.current;
    const isCommand = event.ctrlKey || event.metaKey;
    if (!isForGrid || event.altKey) return;
    const step = isCommand ? undefined : STEPS[event.key];
    const command = isCommand ? { a: toggleAll }[event.key] : commands[event.key];
    if (step) {
      event.preventDefault();
      move(cursor.row + step[0], cursor.col + step[1], event.shiftKey);
    } else if (command && rows[cursor.row]) {
      event.preventDefault();
      command();
    }
  };
  const block = findBlock(cursor);
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
  const act = { open, edit, finish, pick, point };
  const grid = {
    appId,
    entity,
    fields,
    titles,
    widths,
    cursor,
    block,
    editing,
    selection,
    act,
  };
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
    onScroll=${(event) => setView({ top: event.target.scrollTop, height: event.target.clientHeight })}
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
    />
    <div class="gs" role="presentation" ref=${makeTall(rows.length)}>
      ${rows
        .slice(first, end)
        .map(
          (row, offset) =>
            html`<${Row} key=${row.id} grid=${grid} row=${row} index=${first + offset} />`,
        )}
    </div>
    ${figures && html`<${FootRow} fields=${fields} figures=${figures} widths=${widths} />`}
  </div>`;
}
