/** The kit of plugins: what a page's module gets as the property `kit`, and the place where it is shown. */
import * as base from '../core/kit.js';
import { html, useEffect, useErrorBoundary, useState } from '../core/kit.js';
import { api, get, patch, post, remove, resolvePath, url, user } from '../core/api.js';
import { confirm, openDialog } from '../core/dialogs.js';
import { formatJson } from '../core/json.js';
import { A, go, route } from '../core/router.js';
import { Ago, Head, Listing, copy } from '../core/screen.js';
import { apps } from '../core/store.js';
import {
  Empty,
  ErrorBox,
  Input,
  Loaded,
  Loading,
  attempt,
  icon,
  toast,
  useForm,
  useLoad,
} from '../core/ui.js';
import { Control, Fields } from '../form/control.js';
import { readForm, readSchema } from '../form/control.js';

/** A cell of a table by the kind of its column. */
export function Cell({ kind, value }) {
  const isEmpty = value === null || value === undefined || value === '';
  if (isEmpty) return html`<span class="dim">–</span>`;
  if (kind === 'time') return html`<${Ago} at=${value} />`;
  if (kind === 'number') return html`<span class="mono">${String(value)}</span>`;
  if (kind === 'code') return html`<code>${String(value)}</code>`;
  if (kind === 'state') return html`<span class="tag">${String(value)}</span>`;
  if (typeof value === 'object') return html`<code>${formatJson(value, '', 60)}</code>`;
  return String(value);
}

/**
 * @param {{rows: any[], columns?: (string|{name: string, title?: string, kind?: string})[],
 *   actions?: (row: any) => any}} props
 */
export function Table({ rows, columns = [], actions }) {
  const listed = columns.length ? columns : Object.keys(rows[0] ?? {});
  const named = listed.map((column) => (typeof column === 'string' ? { name: column } : column));
  const alignCell = (column) => (column.kind === 'number' ? 'num' : '');
  /** @type {any[]} */
  const heads = named.map((column) => [column.title ?? column.name, alignCell(column)]);
  if (actions) heads.push('');
  return html`<${Listing} heads=${heads}>
    ${rows.map(
      (row, index) => html`<tr key=${row.id ?? index}>
        ${named.map(
          (column) => html`<td key=${column.name} class=${alignCell(column)}>
            <${Cell} kind=${column.kind} value=${row[column.name]} />
          </td>`,
        )}
        ${actions && html`<td class="right nowrap">${actions(row)}</td>`}
      </tr>`,
    )}
  <//>`;
}

/**
 * A form from a JSON Schema.
 * @param {{schema: any, submit: (body: any) => Promise<any>, title?: string,
 *   cancel?: () => void}} props
 */
export function Form({ schema, submit, title = 'Send', cancel }) {
  const fields = readSchema(schema);
  const [values, setValues] = useState({});
  const [state, setState] = useState({});
  const change = (name, value) => setValues((before) => ({ ...before, [name]: value }));
  const send = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      await submit(readForm(fields, values));
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  return html`<form class="stack" onSubmit=${send}>
    <${Fields} fields=${fields} values=${values} appId="" prefix="p" onChange=${change} />
    <${ErrorBox} error=${state.error} />
    <div class="actions">
      ${cancel && html`<button type="button" onClick=${cancel}>Cancel</button>`}
      <button class="primary" disabled=${state.busy}>${title}</button>
    </div>
  </form>`;
}

/** Stable within `KIT`. */
export const kit = {
  ...base,
  signals: { signal: base.signal, computed: base.computed, effect: base.effect },
  api,
  get,
  post,
  patch,
  remove,
  url,
  user,
  apps,
  copy,
  A,
  go,
  route,
  Head,
  Table,
  Form,
  Field: Control,
  Ago,
  Empty,
  ErrorBox,
  Input,
  Loaded,
  Loading,
  attempt,
  toast,
  confirm,
  icon,
  openDialog,
  useForm,
  useLoad,
};

// --- the place of a plugin's module: it may throw or be missing, the console goes on. One that never
// returns keeps this tab busy until it is closed; other tabs go on, and none opens it again unasked.

/** Milliseconds within which a module shows something. */
const WITHIN = 1500;
/** Milliseconds in which the name of the plugin is drawn: what is seen if the module never returns. */
const DRAWN = 20;
const NO_COMPONENT = 'its module has no component as `export default`';

/**
 * @param {any} props `page`; `part` is the export that is shown, and `fallback` is shown where the
 *   module has no such export. Further properties are given to the component.
 */
export function Plugin({ page, part = 'default', fallback = null, ...props }) {
  const [opened, setOpened] = useState(null);
  const [crash, resetCrash] = useErrorBoundary((error) =>
    console.warn(`page of plugin ${page.plugin}:`, error),
  );
  // In the storage of all tabs: the mark of a module that hung outlives its tab.
  const mark = `caudex.opening.${page.plugin}/${page.id}`;
  const [isHung, setHung] = useState(() => isOverdue(localStorage[mark]));
  const removeMark = () => delete localStorage[mark];
  const load = async () => {
    try {
      const exports = await import(resolvePath(page.module));
      setOpened({ Component: exports[part] });
    } catch (error) {
      setOpened({ error });
    }
  };
  useEffect(() => {
    if (isHung) return undefined;
    localStorage[mark] = Date.now();
    const end = setTimeout(removeMark, WITHIN);
    const start = setTimeout(load, DRAWN);
    // A tab may be closed or loaded again at once; in one that hangs this never runs.
    addEventListener('pagehide', removeMark);
    return () => {
      removeEventListener('pagehide', removeMark);
      clearTimeout(end);
      clearTimeout(start);
      removeMark();
    };
  }, [page.module, isHung]);
  const openAnyway = () => {
    removeMark();
    setHung(false);
  };

  if (isHung) return html`<${Hung} page=${page} open=${openAnyway} />`;
  const problem = crash ?? opened?.error;
  if (problem) return html`<${Failed} page=${page} problem=${problem} retry=${resetCrash} />`;
  if (!opened)
    return html`<${Loading} />
      <p class="dim">Opening “${page.title}” of plugin ${page.plugin}…</p>`;
  const { Component } = opened;
  if (!Component && fallback) return fallback;
  if (typeof Component !== 'function')
    return html`<${Failed} page=${page} problem=${new Error(NO_COMPONENT)} retry=${resetCrash} />`;
  return html`<${Component} kit=${kit} page=${page} ...${props} />`;
}

/** Whether a mark is left of a module that never returned. @param {string|undefined} mark */
function isOverdue(mark) {
  return Date.now() - Number(mark ?? NaN) > WITHIN;
}

const Hung = ({ page, open }) => html`<div class="notice warn">
  <b>The page “${page.title}” of plugin ${page.plugin} did not answer the last time.</b>
  <button onClick=${open}>Open it anyway</button>
</div>`;

const Failed = ({ page, problem, retry }) => html`<div class="notice bad" role="alert">
  <b>The page “${page.title}” of plugin ${page.plugin} failed.</b>
  <div>${String(problem.message ?? problem)}</div>
  <button onClick=${retry}>Try again</button>
</div>`;
