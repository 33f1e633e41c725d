/** The kit of plugins: what a page's module gets as the property `kit`. Stable within `KIT`. */
import * as base from '../core/kit.js';
import { api, get, patch, post, remove, url, user } from '../core/api.js';
import { copy } from '../core/browser.js';
import { A, go, route } from '../core/router.js';
import { confirm, openDialog } from '../core/dialogs.js';
import { Head } from '../core/head.js';
import { apps } from '../core/store.js';
import { Ago } from '../core/times.js';
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
import { formatJson } from '../core/json.js';
import { Control } from '../form/control.js';
import { Fields } from '../form/fields.js';
import { readForm, readSchema } from '../form/schema.js';

const { html, useState } = base;

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
  return html`<div class="scrollx">
    <table class="list">
      <thead>
        <tr>
          ${named.map(
            (column) => html`<th key=${column.name} class=${alignCell(column)}>
              ${column.title ?? column.name}
            </th>`,
          )}
          ${actions && html`<th />`}
        </tr>
      </thead>
      <tbody>
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
      </tbody>
    </table>
  </div>`;
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
