/** A page of a plugin: declared (a table and actions), or a module of its own. */
import { html } from '../../core/kit.js';
import { api, get, post } from '../../core/api.js';
import { pages } from '../../core/store.js';
import {
  Empty,
  Head,
  Loaded,
  confirm,
  fail,
  openDialog,
  toast,
  useLoad,
  CopyAs,
} from '../../core/ui.js';
import { Markdown } from '../../parts/markdown.js';
import { Form, Table } from '../../kit/kit.js';
import { Plugin } from '../../kit/host.js';

export default function PageScreen({ parts: [plugin, id] }) {
  const page = pages.value.find((p) => p.plugin === plugin && p.id === id);
  if (!page)
    return html`<${Empty} title="There is no such page" glyph="plug">
      The plugin may be off, or you may not see it.
    <//>`;
  if (page.module) return html`<${Plugin} key=${`${plugin}/${id}`} page=${page} />`;
  return html`<${Declared} key=${`${plugin}/${id}`} page=${page} />`;
}

/** Fill `{name}` in a path with members of a row. */
const fill = (path, row) =>
  path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(String(row?.[name] ?? '')));

function Declared({ page }) {
  const { table } = page;
  const rows = useLoad(async () => {
    if (!table) return [];
    const reply = table.rpc
      ? await post(table.path, { method: table.rpc, params: {} })
      : await get(table.path);
    return (table.rows ? reply[table.rows] : reply) ?? [];
  }, [table?.path]);
  const act = async (action, row) => {
    const send = async (body) => {
      const sent = action.rpc
        ? { method: action.rpc, params: { ...body, ...(row ? { id: row.id } : {}) } }
        : body;
      const reply = await api(action.method, fill(action.path, row), { body: sent });
      toast(reply?.message ?? 'Done.');
      rows.reload();
    };
    if (action.confirm && !(await confirm(action.title, action.confirm, { yes: action.title })))
      return;
    if (!action.body?.properties && !action.body?.$ref) {
      await send(undefined).catch(fail);
      return;
    }
    await openDialog(
      ({ close }) => html`<h2>${action.title}</h2>
        <${Form}
          schema=${action.body}
          title=${action.title}
          cancel=${() => close()}
          submit=${async (body) => {
            await send(body);
            close();
          }}
        />`,
      { label: action.title },
    );
  };
  const ofRow = page.actions.filter((a) => a.row);
  const ofPage = page.actions.filter((a) => !a.row);
  const button = (a, row) => html`<button
    key=${a.title}
    class=${row ? 'small' : 'primary'}
    onClick=${() => act(a, row)}
  >
    ${a.title}
  </button>`;
  return html`<${Head} title=${page.title}>
      ${
        table &&
        html`<${CopyAs}
          request=${
            table.rpc
              ? { method: 'POST', path: table.path, body: { method: table.rpc, params: {} } }
              : { method: 'GET', path: table.path }
          }
        />`
      }
      ${ofPage.map((a) => button(a))}
    <//>
    ${page.text && html`<${Markdown} text=${page.text} />`}
    ${
      table &&
      html`<${Loaded} of=${rows}>
        ${(all) =>
          all.length
            ? html`<${Table}
              rows=${all}
              columns=${table.columns}
              actions=${ofRow.length ? (row) => ofRow.map((a) => button(a, row)) : undefined}
            />`
            : html`<${Empty} title="Nothing here yet" />`}
      <//>`
    }`;
}
