/** The kit of plugins: what a page's module gets as the property `kit`. Stable within `KIT`. */
import * as base from '../core/kit.js';
import { api, get, patch, post, remove, url, user } from '../core/api.js';
import { A, go, route } from '../core/router.js';
import {
  Ago,
  Empty,
  ErrorBox,
  Head,
  Loaded,
  Loading,
  confirm,
  icon,
  openDialog,
  toast,
  useLoad,
} from '../core/ui.js';
import { pretty } from '../core/json.js';
import { Control, Fields, schemaBody, schemaFields } from '../parts/fields.js';

const { html, useState } = base;

/** A cell of a table by the kind of its column. */
export function Cell({ kind, value }) {
  if (value === null || value === undefined || value === '')
    return html`<span class="dim">–</span>`;
  if (kind === 'time') return html`<${Ago} at=${value} />`;
  if (kind === 'number') return html`<span class="mono">${String(value)}</span>`;
  if (kind === 'code') return html`<code>${String(value)}</code>`;
  if (kind === 'state') return html`<span class="tag">${String(value)}</span>`;
  return typeof value === 'object' ? html`<code>${pretty(value, '', 60)}</code>` : String(value);
}

/**
 * @param {{rows: any[], columns?: (string|{name: string, title?: string, kind?: string})[],
 *   actions?: (row: any) => any}} props
 */
export function Table({ rows, columns = [], actions }) {
  const named = (columns.length ? columns : Object.keys(rows[0] ?? {})).map((c) =>
    typeof c === 'string' ? { name: c, title: c } : c,
  );
  return html`<div class="scrollx">
    <table class="list">
      <thead>
        <tr>
          ${named.map(
            (c) => html`<th key=${c.name} class=${c.kind === 'number' ? 'num' : ''}>
              ${c.title ?? c.name}
            </th>`,
          )}
          ${actions && html`<th />`}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row, i) => html`<tr key=${row.id ?? i}>
            ${named.map(
              (c) => html`<td key=${c.name} class=${c.kind === 'number' ? 'num' : ''}>
                <${Cell} kind=${c.kind} value=${row[c.name]} />
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
  const fields = schemaFields(schema);
  const [values, set] = useState({});
  const [state, setState] = useState({});
  const send = async (e) => {
    e.preventDefault();
    setState({ busy: true });
    try {
      await submit(schemaBody(fields, values));
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  return html`<form class="stack" onSubmit=${send}>
    <${Fields}
      fields=${fields}
      values=${values}
      appId=""
      prefix="p"
      onChange=${(name, v) => set((s) => ({ ...s, [name]: v }))}
    />
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
  A,
  go,
  route,
  Head,
  Table,
  Form,
  Field: Control,
  Empty,
  ErrorBox,
  Loaded,
  Loading,
  toast,
  confirm,
  icon,
  openDialog,
  useLoad,
};
