/** The table: only rows in sight are in the page, so a million rows scroll as ten do. */
import { html, useEffect, useMemo, useRef } from '../../core/kit.js';
import { toWords } from '../../core/store.js';
import { useUnsaved } from '../../core/dialogs.js';
import { fail, toast } from '../../core/ui.js';
import { undoLatest } from '../../parts/undo.js';
import { GroupHead, makePlan, toggleGroup } from '../data/groups.js';
import { useBlocks } from './clipboard.js';
import { findStep, followPointer, isLetter, nameKey, useCursor, useWalking } from './cursor.js';
import { useEditing } from './editing.js';
import { FootRow, HeadRow } from './heads.js';
import { layRow, makeTall, writeWidths } from './layout.js';
import { explainLock } from './reading.js';
import { Row } from './rows.js';
import { useJump, usePlace, useView } from './view.js';

/**
 * @param {{appId: string, entity: any, fields: any[], data: any, editable: boolean,
 *   sorting: {terms: {name: string, order: string}[],
 *     change: (name: string, isAdded?: boolean) => void}, columns: any,
 *   selection: {ids: Set<string>, change: (ids: Set<string>) => void}, marks: Map<string, string>,
 *   headMenu: (field: any) => any, addColumn?: () => void, figures: Record<string, [string, any]>|null,
 *   opened?: string, onOpen: (row: any) => void, onSave: (row: any, change: object) => Promise<void>,
 *   onChange: (plan: any) => Promise<void>}} props `onSave` saves a cell, `onChange` many of them.
 */
export function Grid(props) {
  const { appId, entity, fields, data, editable, sorting, selection, headMenu, figures } = props;
  const { rows, titles } = data;
  const box = useRef(null);
  const plan = useMemo(() => makePlan(data.groups), [data.groups]);
  const { topOf, height, lines, top, first, end, heads, measure } = useView(box, data, plan);
  const { cursor, latest, block, setCursor, move, step, walk, breakLine } = useCursor(
    box,
    rows,
    fields,
    topOf,
  );
  const goTo = useJump(box, data, cursor, { setCursor, move, measure });
  data.goTo.current = (row) => {
    box.current.focus({ preventScroll: true });
    goTo(row);
  };
  const { editing, drafts, edit, ...edits } = useEditing(box, rows, fields, props.onSave);
  const { isAllChosen, toggle, toggleAll } = makeChoice(rows, selection);
  useUnsaved([...drafts.values()].some((draft) => draft.problem));
  const keepPlace = usePlace(box, cursor, top, data, setCursor);

  const open = (row, index = cursor.row) => {
    setCursor({ ...cursor, row: index, from: null });
    keepPlace();
    props.onOpen(row);
    keepPlace(); // of the address with the record beside the table, too
  };
  useEffect(() => {
    const index = rows.findIndex((row) => row.id === props.opened);
    if (index >= 0 && index !== cursor.row) move(index, cursor.col);
  }, [props.opened, rows.length > 0]);
  const isEditable = () => {
    if (!editable) toast('You may not change records of this table.', { group: 'locked' });
    return editable;
  };
  const editCell = (index, col, isTyped) => {
    const row = rows[index];
    return Boolean(row) && isEditable() && edit(row, fields[col], isTyped);
  };
  const editOrOpen = (index, col) => {
    const hasEditor = editable && !explainLock(fields[col]);
    if (hasEditor) editCell(index, col, false);
    else open(rows[index], index);
  };
  const pick = (index, isSpan) => {
    toggle(index, isSpan ? cursor.row : index);
    setCursor({ ...cursor, row: index });
  };
  const point = (index, col, isBlock) => {
    box.current.focus({ preventScroll: true });
    setWalking(true);
    move(index, col, isBlock);
    followPointer(box.current, (cell) => {
      const isElsewhere = cell.row !== index || cell.col !== col;
      if (isElsewhere || latest.current.from) move(cell.row, cell.col, true);
    });
  };
  const openMenu = () => {
    const name = CSS.escape(fields[cursor.col].name);
    box.current.querySelector(`[data-column="${name}"] .menu button`)?.click();
  };
  const blocks = useBlocks(box, { ...props, isEditable, block, setCursor, editing });
  const { walking, setWalking } = useWalking();
  const commands = {
    Enter: () => editOrOpen(cursor.row, cursor.col),
    F2: () => editOrOpen(cursor.row, cursor.col),
    ' ': () => open(rows[cursor.row]),
    'Shift  ': () => toggle(cursor.row),
    'Ctrl a': toggleAll,
    'Ctrl d': blocks.fillDown,
    'Ctrl z': undoLatest,
    Delete: blocks.empty,
    Backspace: blocks.empty,
    'Alt ArrowDown': openMenu,
    'Alt s': () => sorting.change(fields[cursor.col].name),
    'Alt Shift s': () => sorting.change(fields[cursor.col].name, true),
    'Alt c': () => props.addColumn?.(),
    'Ctrl Home': () => goTo(0, 0),
    'Ctrl End': () => data.count().then((total) => goTo(total - 1, fields.length - 1), fail),
    Escape: () => {
      setWalking(false);
      setCursor({ ...cursor, from: null });
    },
  };
  const press = (event) => {
    if (editing || event.target !== box.current || !rows[cursor.row]) return;
    const name = nameKey(event);
    const direction = findStep(name.replace('Shift ', ''), box.current);
    const act = commands[name];
    if (name === 'Tab' || name === 'Shift Tab') {
      if (walking.current && walk(event.shiftKey ? -1 : 1)) event.preventDefault();
      return;
    }
    if (act || direction) event.preventDefault();
    if (act || direction || isLetter(event)) setWalking(name !== 'Escape');
    if (act) act();
    else if (direction) step(direction, event.shiftKey);
    // The letter itself is typed into the editor, which has the focus by then.
    else if (isLetter(event)) editCell(cursor.row, cursor.col, true);
  };
  const finish = (result, options = {}) => {
    const isOver = edits.finish(result, options);
    if (!isOver || !options.step) return isOver;
    const [down, right] = options.step;
    if (options.key === 'Tab') walk(right);
    else if (options.key === 'Enter') breakLine(down);
    else step(options.step);
    return true;
  };

  const widths = writeWidths(fields);
  const act = { open, edit: editOrOpen, finish, pick, point, startFill: blocks.startFill };
  const { marks, opened } = props;
  const { filled } = blocks;
  const state = { widths, cursor, block, filled, editing, drafts, selection, marks, opened };
  const place = { topOf, base: data.base, plan };
  const shared = { appId, entity, fields, titles, editable, act, ...place, ...state };
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
    onCopy=${blocks.copy}
    onCut=${blocks.cut}
    onPaste=${blocks.paste}
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
