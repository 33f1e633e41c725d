/** A page of a plugin: declared (a table and actions), or a module of its own. */
import { html } from '../../core/kit.js';
import { api, get, post } from '../../core/api.js';
import { confirm, openDialog } from '../../core/dialogs.js';
import { CopyAs, Head, useTitle } from '../../core/screen.js';
import { pages } from '../../core/store.js';
import { Empty, Loaded, attempt, toast, useLoad } from '../../core/ui.js';
import { Form, Plugin, Table } from '../../kit/kit.js';
import { Markdown } from '../../parts/markdown.js';

export default function PageScreen({ parts: [plugin, id] }) {
  const page = pages.value.find((candidate) => candidate.plugin === plugin && candidate.id === id);
  useTitle(page?.title ?? 'No such page');
  if (!page)
    return html`<${Empty} title="There is no such page" glyph="plug">
      The plugin may be off, or you may not see it.
    <//>`;
  const Content = page.module ? Plugin : Declared;
  return html`<${Content} key=${`${plugin}/${id}`} page=${page} />`;
}

/** Fill `{name}` in a path with members of a row. */
function fillPath(path, row) {
  return path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(String(row?.[name] ?? '')));
}

/** The request that fills a table: a route, or a method of the app's worker. */
function buildTableRequest(table) {
  if (!table.rpc) return { method: 'GET', path: table.path };
  return { method: 'POST', path: table.path, body: { method: table.rpc, params: {} } };
}

async function loadRows(table) {
  if (!table) return [];
  const { method, path, body } = buildTableRequest(table);
  const reply = await (method === 'GET' ? get(path) : post(path, body));
  const rows = table.rows ? reply[table.rows] : reply;
  return rows ?? [];
}

/** What an action sends: the body itself, or a call of the worker's method with it. */
function buildActionBody(action, row, body) {
  if (!action.rpc) return body;
  const params = row ? { ...body, id: row.id } : { ...body };
  return { method: action.rpc, params };
}

function Declared({ page }) {
  const { table } = page;
  const loaded = useLoad(() => loadRows(table), [table?.path]);
  const act = async (action, row = null) => {
    const send = async (body) => {
      const path = fillPath(action.path, row);
      const reply = await api(action.method, path, { body: buildActionBody(action, row, body) });
      toast(reply?.message ?? 'Done.');
      loaded.reload();
    };
    const isSure =
      !action.confirm || (await confirm(action.title, action.confirm, { yes: action.title }));
    if (!isSure) return;
    const hasForm = action.body?.properties || action.body?.$ref;
    if (hasForm) {
      openForm(action, send);
    } else {
      await attempt(() => send(undefined));
    }
  };
  const ofPage = page.actions.filter((action) => !action.row);
  const ofRow = page.actions.filter((action) => action.row);
  const makeRowButtons = (row) =>
    ofRow.map(
      (action) =>
        html`<${ActionButton} action=${action} look="small" act=${() => act(action, row)} />`,
    );
  return html`<${Head} title=${page.title}>
      ${table && html`<${CopyAs} request=${buildTableRequest(table)} />`}
      ${ofPage.map(
        (action) =>
          html`<${ActionButton} action=${action} look="primary" act=${() => act(action)} />`,
      )}
    <//>
    ${page.text && html`<${Markdown} text=${page.text} />`}
    ${
      table &&
      html`<${Loaded} of=${loaded}>
        ${(rows) =>
          rows.length
            ? html`<${Table}
              rows=${rows}
              columns=${table.columns}
              actions=${ofRow.length ? makeRowButtons : undefined}
            />`
            : html`<${Empty} title="Nothing here yet" />`}
      <//>`
    }`;
}

const ActionButton = ({ action, look, act }) => html`<button class=${look} onClick=${act}>
  ${action.title}
</button>`;

/** Ask for the body of an action. */
function openForm(action, send) {
  const content = ({ close }) => {
    const submit = async (body) => {
      await send(body);
      close();
    };
    return html`<h2>${action.title}</h2>
      <${Form}
        schema=${action.body}
        title=${action.title}
        cancel=${() => close()}
        submit=${submit}
      />`;
  };
  openDialog(content, { label: action.title });
}
