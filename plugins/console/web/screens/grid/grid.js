/** The table: only rows in sight are in the page, so a million rows scroll as ten do. */
import { html, useRef } from '../../core/kit.js';
import { toWords } from '../../core/store.js';
import { makeChoice } from './choice.js';
import { readBlock, writeBlock } from './clipboard.js';
import { useCursor } from './cursor.js';
import { FootRow, HeadRow } from './edges.js';
import { useEditing } from './editing.js';
import { makeTall, writeWidths } from './geometry.js';
import { usePlace } from './place.js';
import { Row } from './row.js';
import { useView } from './view.js';

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
