/** A record beside its table: it is opened at the left edge of its row, and is in the address. */
import { html, useEffect, useLayoutEffect, useRef } from '../../core/kit.js';
import { A, go, setQuery, toHref } from '../../core/router.js';
import { Lazy } from '../../core/screen.js';
import { IconButton } from '../../core/ui.js';
import { isPhone } from './columns.js';

const loadBeside = () => import('../record/record.js').then((module) => module.Beside);

/**
 * The record that is open, by its id. On a phone it is a page of its own.
 * @returns {{open?: string, openRow: (row: any) => void, leaveRow: () => void}}
 */
export function useOpenRow(appId, entity, { open }) {
  useEffect(() => {
    if (open && isPhone()) location.replace(toHref(['record', appId, entity.name, open]));
  }, [open]);
  const openRow = (row) => {
    if (isPhone()) go(['record', appId, entity.name, row.id]);
    else setQuery({ open: row.id });
  };
  return { open, openRow, leaveRow: () => setQuery({ open: null }) };
}

/**
 * @param {{appId: string, entity: any, id: string, data: any, openRow: (row: any) => void,
 *   close: () => void}} props
 */
export function Panel({ appId, entity, id, data, openRow, close }) {
  const box = useRef(null);
  const { rows, base, total, done } = data;
  const at = rows.findIndex((row) => row.id === id);
  useLayoutEffect(() => {
    box.current.focus();
    return () =>
      /** @type {any} */ (document.querySelector('.grid'))?.focus({ preventScroll: true });
  }, []);
  // The row behind the last one that is loaded is loaded, too.
  useEffect(() => {
    if (at === rows.length - 1 && !done) data.more();
  }, [at, rows.length]);
  const previous = rows[at - 1];
  const next = at < 0 ? undefined : rows[at + 1];
  const keys = {
    Escape: close,
    'Alt ArrowUp': () => previous && openRow(previous),
    'Alt ArrowDown': () => next && openRow(next),
  };
  const press = (event) => {
    const act = keys[event.altKey ? `Alt ${event.key}` : event.key];
    if (!act || event.defaultPrevented) return;
    event.preventDefault();
    act();
  };
  const drop = () => {
    close();
    data.reload();
  };
  const where =
    at < 0 ? '' : `${(base + at + 1).toLocaleString()} of ${total?.toLocaleString() ?? '…'}`;
  return html`<aside
    class="panel"
    ref=${box}
    tabindex="-1"
    aria-label="Record"
    onKeyDown=${press}
  >
    <div class="row panelhead">
      <${Step} glyph="up" title="Previous record" keys="Alt ↑" row=${previous} open=${openRow} />
      <${Step} glyph="down" title="Next record" keys="Alt ↓" row=${next} open=${openRow} />
      <small class="grow">${where}</small>
      <${A} class="button" to=${['record', appId, entity.name, id]}>Open as a page<//>
      <${IconButton} glyph="x" label="Close" title="Close (Esc)" onClick=${close} />
    </div>
    <${Lazy}
      key=${id}
      load=${loadBeside}
      appId=${appId}
      entity=${entity}
      id=${id}
      table=${{ replace: (record) => data.replace([record]), drop }}
    />
  </aside>`;
}

const Step = ({ glyph, title, keys, row, open }) =>
  html`<${IconButton}
    glyph=${glyph}
    label=${title}
    title=${`${title} (${keys})`}
    disabled=${!row}
    onClick=${() => open(row)}
  />`;
