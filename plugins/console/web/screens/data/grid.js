/** The table: only rows in sight are in the page, so a million rows scroll as ten do. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { icon } from '../../core/ui.js';
import { FIGURES } from './facets.js';
import { Control } from '../../parts/fields.js';
import { Value, fromText, toText, widthOf } from '../../parts/values.js';
import { words } from '../../core/store.js';

const HEIGHT = 33;
const INPLACE = ['text', 'number', 'boolean', 'date', 'timestamp', 'uuid', 'entity_link'];

/**
 * @param {{appId: string, entity: any, fields: any[], data: any, sort: string, order: string,
 *   onSort: (name: string) => void, onOpen: (row: any) => void,
 *   onSave: (pairs: [row: any, change: object][]) => Promise<void>, editable: boolean,
 *   chosen: Set<string>, onChoose: (ids: Set<string>) => void, headMenu: (field: any) => any,
 *   figures: Record<string, [string, any]>|null}} props
 */
export function Grid({
  appId,
  entity,
  fields,
  data,
  sort,
  order,
  onSort,
  onOpen,
  onSave,
  editable,
  chosen,
  onChoose,
  headMenu,
  figures,
}) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const [at, setAt] = useState({ row: 0, col: 0, from: null });
  const [editing, setEditing] = useState(null);
  const { rows, titles } = data;
  const first = Math.max(0, Math.floor(view.top / HEIGHT) - 8);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / HEIGHT) + 8);
  useEffect(() => {
    const measure = () =>
      box.current && setView({ top: box.current.scrollTop, height: box.current.clientHeight });
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  useEffect(() => {
    if (last > rows.length - 25) data.more();
  }, [last, rows.length, data.loading]);

  const move = (row, col, keep) => {
    const next = {
      row: clamp(row, 0, rows.length - 1),
      col: clamp(col, 0, fields.length - 1),
      from: keep ? (at.from ?? { row: at.row, col: at.col }) : null,
    };
    setAt(next);
    reveal(box.current, next.row, fields, next.col);
  };
  const startEdit = (row, col) => {
    const field = fields[col];
    if (!editable || !inPlace(field) || String(rows[row]?.[field.name] ?? '').length > 400)
      return onOpen(rows[row]);
    return setEditing({ id: rows[row].id, name: fields[col].name });
  };
  const finish = async (text) => {
    const row = rows.find((r) => r.id === editing.id);
    const field = fields.find((f) => f.name === editing.name);
    setEditing(null);
    box.current.focus({ preventScroll: true });
    if (row && text !== undefined && text !== toText(field, row[field.name]))
      await onSave([[row, { [field.name]: fromText(field, text) }]]);
  };
  const toggle = (row, span) => {
    const next = new Set(chosen);
    const ids =
      span !== undefined && span !== null
        ? rows.slice(Math.min(row, span), Math.max(row, span) + 1).map((r) => r.id)
        : [rows[row].id];
    const on = !chosen.has(rows[row].id);
    ids.forEach((id) => (on ? next.add(id) : next.delete(id)));
    onChoose(next);
  };
  const key = (e) => {
    if (editing || e.target !== box.current) return;
    const steps = {
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
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const step = steps[e.key];
    if (step) {
      e.preventDefault();
      move(at.row + step[0], at.col + step[1], e.shiftKey);
      return;
    }
    if (!rows[at.row]) return;
    const run = {
      Enter: () => onOpen(rows[at.row]),
      e: () => startEdit(at.row, at.col),
      F2: () => startEdit(at.row, at.col),
      x: () => toggle(at.row),
      Home: () => move(0, at.col),
      End: () => move(rows.length - 1, at.col),
      Escape: () => setAt({ ...at, from: null }),
    }[e.key];
    if (run) {
      e.preventDefault();
      run();
    }
  };
  const range = rangeOf(at);
  const onCopy = (e) => {
    if (editing || e.target.closest?.('input')) return;
    const lines = rows.slice(range.top, range.bottom + 1).map((r) =>
      fields
        .slice(range.left, range.right + 1)
        .map((f) => toText(f, r[f.name]).replace(/[\t\n]/g, ' '))
        .join('\t'),
    );
    e.clipboardData.setData('text/plain', lines.join('\n'));
    e.preventDefault();
  };
  const onPaste = async (e) => {
    if (editing || !editable) return;
    e.preventDefault();
    const lines = e.clipboardData
      .getData('text/plain')
      .replace(/\r?\n$/, '')
      .split(/\r?\n/)
      .map((line) => line.split('\t'));
    const pairs = lines.flatMap((cells, i) => {
      const row = rows[at.row + i];
      const changed = cells
        .map((text, j) => ({ field: fields[at.col + j], text }))
        .filter(
          ({ field, text }) =>
            row && field && inPlace(field) && toText(field, row[field.name]) !== text,
        )
        .map(({ field, text }) => [field.name, fromText(field, text)]);
      return changed.length ? [[row, Object.fromEntries(changed)]] : [];
    });
    if (pairs.length) await onSave(pairs);
  };
  const columns = `38px ${fields.map((f) => `${widthOf(f)}px`).join(' ')} minmax(0,1fr)`;
  const all = rows.length > 0 && rows.every((r) => chosen.has(r.id));
  return html`<div
    class="grid"
    ref=${box}
    role="grid"
    tabindex="0"
    aria-label=${words(entity.name)}
    aria-rowcount=${data.done ? rows.length + 1 : -1}
    aria-colcount=${fields.length + 1}
    aria-multiselectable="true"
    aria-activedescendant=${rows.length ? `c-${at.row}-${at.col}` : undefined}
    onScroll=${(e) => setView({ top: e.target.scrollTop, height: e.target.clientHeight })}
    onKeyDown=${key}
    onCopy=${onCopy}
    onPaste=${onPaste}
  >
    <div class="gr gh" role="row" aria-rowindex="1" ref=${cols(columns)}>
      <div class="gc pick" role="columnheader">
        <input
          type="checkbox"
          tabindex="-1"
          aria-label="Select all shown"
          checked=${all}
          onChange=${() => onChoose(new Set(all ? [] : rows.map((r) => r.id)))}
        />
      </div>
      ${fields.map(
        (f) => html`<div
          class="gc ${f.type === 'number' ? 'num' : ''}"
          role="columnheader"
          key=${f.name}
          aria-sort=${sort === f.name ? (order === 'asc' ? 'ascending' : 'descending') : undefined}
        >
          <button
            class="quiet"
            tabindex="-1"
            onClick=${() => onSort(f.name)}
            title=${`Sort by ${f.name}`}
          >
            <span class="cut">${words(f.name)}</span>
            ${sort === f.name && icon(order === 'asc' ? 'up' : 'down')}
          </button>
          ${headMenu(f)}
        </div>`,
      )}
    </div>
    <div class="gs" role="presentation" ref=${tall(rows.length * HEIGHT)}>
      ${rows.slice(first, last).map((row, n) => {
        const r = first + n;
        return html`<div
          class="gr ${chosen.has(row.id) ? 'chosen' : ''} ${r === at.row ? 'at' : ''}"
          role="row"
          key=${row.id}
          aria-rowindex=${r + 2}
          aria-selected=${chosen.has(row.id)}
          ref=${cols(columns, r * HEIGHT)}
        >
          <div class="gc pick" role="gridcell">
            <input
              type="checkbox"
              tabindex="-1"
              aria-label="Select the row"
              checked=${chosen.has(row.id)}
              onClick=${(e) => {
                toggle(r, e.shiftKey ? at.row : null);
                setAt({ ...at, row: r });
              }}
            />
          </div>
          ${fields.map(
            (f, c) => html`<div
              class="gc ${f.type === 'number' ? 'num' : ''} ${
                r === at.row && c === at.col ? 'cur' : ''
              } ${
                at.from &&
                r >= range.top &&
                r <= range.bottom &&
                c >= range.left &&
                c <= range.right
                  ? 'ranged'
                  : ''
              }"
              role="gridcell"
              key=${f.name}
              id=${`c-${r}-${c}`}
              onMouseDown=${(e) => {
                if (e.target.closest('a, input, select, .popup')) return;
                e.preventDefault();
                box.current.focus({ preventScroll: true });
                move(r, c, e.shiftKey);
              }}
              onDblClick=${() => startEdit(r, c)}
            >
              ${
                editing && editing.id === row.id && editing.name === f.name
                  ? html`<${Cell} field=${f} value=${row[f.name]} appId=${appId} finish=${finish} />`
                  : html`<${Value}
                    field=${f}
                    value=${row[f.name]}
                    title=${titles[row[f.name]]}
                    appId=${appId}
                  />`
              }
            </div>`,
          )}
          <div class="gc open" role="gridcell">
            <button class="quiet small" tabindex="-1" onClick=${() => onOpen(row)}>Open</button>
          </div>
        </div>`;
      })}
    </div>
    ${figures && html`<${Foot} fields=${fields} figures=${figures} columns=${columns} />`}
  </div>`;
}

/** The last line of the table: a figure below each column that has one. */
function Foot({ fields, figures, columns }) {
  return html`<div class="gr gf" role="row" ref=${cols(columns)}>
    <div class="gc pick" role="gridcell" />
    ${fields.map((f) => {
      const [kind, value] = figures[f.name] ?? [];
      const name = FIGURES.find(([id]) => id === kind)?.[2];
      const text = String(value ?? '–').replace(/(\.\d{4})\d+$/, '$1');
      return html`<div class="gc ${f.type === 'number' ? 'num' : ''}" role="gridcell" key=${f.name}>
        ${name && html`<small>${name}</small><b class="cut">${text}</b>`}
      </div>`;
    })}
  </div>`;
}

/** The editor in a cell: Enter or leaving saves, Escape does not. */
function Cell({ field, value, appId, finish }) {
  const [text, setText] = useState(toText(field, value));
  const over = useRef(false);
  const end = (result) => {
    if (!over.current) {
      over.current = true;
      finish(result);
    }
  };
  const change = (v) => {
    setText(v);
    if (field.references || field.enum_values?.length || field.type === 'boolean') end(v);
  };
  const key = (e) => {
    if (e.key === 'Enter') {
      e.preventDefault();
      e.stopPropagation();
      end(text);
    }
    if (e.key === 'Escape') {
      e.preventDefault();
      e.stopPropagation();
      end();
    }
  };
  return html`<div
    class="celledit"
    onKeyDown=${key}
    onFocusOut=${(e) => {
      if (!field.references && !e.currentTarget.contains(e.relatedTarget)) end(text);
    }}
  >
    <${Control}
      id="cell"
      label=${words(field.name)}
      field=${{ ...field, name: field.name }}
      value=${text}
      onChange=${change}
      appId=${appId}
      autofocus
      onCancel=${() => end()}
    />
  </div>`;
}

const inPlace = (field) => !field.system && !field.locked && INPLACE.includes(field.type);
const clamp = (n, low, high) => Math.max(low, Math.min(high, n));
const rangeOf = ({ row, col, from }) => ({
  top: Math.min(row, from?.row ?? row),
  bottom: Math.max(row, from?.row ?? row),
  left: Math.min(col, from?.col ?? col),
  right: Math.max(col, from?.col ?? col),
});

// Styles are set through the object model: the policy of the page allows no style attribute.
const cols = (columns, top) => (el) => {
  if (el) {
    el.style.gridTemplateColumns = columns;
    if (top !== undefined) el.style.transform = `translateY(${top}px)`;
  }
};
const tall = (height) => (el) => {
  if (el) el.style.height = `${height}px`;
};

function reveal(box, row, fields, col) {
  const top = row * HEIGHT;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + 2 * HEIGHT > box.scrollTop + box.clientHeight)
    box.scrollTop = top + 2 * HEIGHT + 12 - box.clientHeight;
  const left = fields.slice(0, col).reduce((sum, f) => sum + widthOf(f), 38);
  if (left < box.scrollLeft + 38) box.scrollLeft = left - 38;
  else if (left + widthOf(fields[col]) > box.scrollLeft + box.clientWidth)
    box.scrollLeft = left + widthOf(fields[col]) - box.clientWidth;
}
