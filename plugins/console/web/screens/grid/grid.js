/** The table: only rows in sight are in the page, so a million rows scroll as ten do. */
import { html, useEffect, useMemo, useRef } from '../../core/kit.js';
import { toWords } from '../../core/store.js';
import { fail } from '../../core/ui.js';
import { GroupHead, makePlan, toggleGroup } from '../data/groups.js';
import { readBlock, writeBlock } from './blocks.js';
import { STEPS, useCursor } from './cursor.js';
import { useEditing } from './editing.js';
import { FootRow, HeadRow } from './heads.js';
import { layRow, makeTall, writeWidths } from './layout.js';
import { Row } from './rows.js';
import { useJump, usePlace, useView } from './view.js';

/**
 * @param {{appId: string, entity: any, fields: any[], data: any, editable: boolean,
 *   sorting: {terms: {name: string, order: string}[],
 *     change: (name: string, isAdded?: boolean) => void}, columns: any,
 *   selection: {ids: Set<string>, change: (ids: Set<string>) => void}, marks: Map<string, string>,
 *   headMenu: (field: any) => any, addColumn?: () => void, figures: Record<string, [string, any]>|null,
 *   opened?: string, onOpen: (row: any) => void, onSave: (row: any, change: object) => Promise<void>,
 *   onPaste: (pairs: [row: any, change: object][]) => Promise<void>}} props
 */
export function Grid(props) {
  const { appId, entity, fields, data, editable, sorting, selection, headMenu, figures } = props;
  const { rows, titles } = data;
  const box = useRef(null);
  const plan = useMemo(() => makePlan(data.groups), [data.groups]);
  const { topOf, height, lines, top, first, end, heads, measure } = useView(box, data, plan);
  const { cursor, block, setCursor, move } = useCursor(box, rows, fields, topOf);
  const goTo = useJump(box, data, cursor, { setCursor, move, measure });
  data.goTo.current = goTo;
  const { editing, edit, finish } = useEditing(box, rows, fields, props.onSave);
  const { isAllChosen, toggle, toggleAll } = makeChoice(rows, selection);
  const keepPlace = usePlace(box, cursor, top, data, setCursor);

  const open = (row, index = cursor.row) => {
    setCursor({ ...cursor, row: index, from: null });
    keepPlace();
    props.onOpen(row);
  };
  useEffect(() => {
    const index = rows.findIndex((row) => row.id === props.opened);
    if (index >= 0 && index !== cursor.row) move(index, cursor.col);
  }, [props.opened, rows.length > 0]);
  const editOrOpen = (index, col) => {
    const isEdited = editable && edit(rows[index], fields[col]);
    if (!isEdited) open(rows[index], index);
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
    'Ctrl Home': () => goTo(0),
    'Ctrl End': () => data.count().then((total) => goTo(total - 1), fail),
    Home: () => goTo(0),
    End: () => data.count().then((total) => goTo(total - 1), fail),
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
  const { marks, opened } = props;
  const state = { widths, cursor, block, editing, selection, marks, opened };
  const shared = { appId, entity, fields, titles, act, topOf, base: data.base, plan, ...state };
  const folded = (data.groups ?? []).filter(({ isFolded }) => isFolded).map(({ value }) => value);
  return html`<div
    class="grid"
    ref=${box}
    role="grid"
    tabindex="0"
    aria-label=${toWords(entity.name)}
    aria-rowcount=${data.total === null ? -1 : lines + 1}
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
      columns=${props.columns}
      headMenu=${headMenu}
      isAllChosen=${isAllChosen}
      toggleAll=${toggleAll}
      addColumn=${props.addColumn}
    />
    <div class="gs" role="presentation" ref=${makeTall(height)}>
      ${heads.map(
        (head) => html`<${GroupHead}
          key=${`group ${head.line}`}
          head=${head}
          lay=${layRow('', head.top)}
          toggle=${() => toggleGroup(folded, head)}
        />`,
      )}
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
