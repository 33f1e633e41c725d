/** Links to exports: addresses that show a table as a file, for spreadsheets and Power Query. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url } from '../../core/api.js';
import { confirm, openDialog } from '../../core/dialogs.js';
import { Ago, Listing, copy } from '../../core/screen.js';
import {
  Empty,
  ErrorBox,
  IconButton,
  Input,
  Loaded,
  attempt,
  icon,
  toast,
  useLoad,
} from '../../core/ui.js';

/**
 * Show the links of a table, and make one of what is seen or of a saved view.
 * @param {{appId: string, entity: any, body: object, name: string}} props `body` says what is shown.
 */
export function openExports({ appId, entity, body, name }) {
  const content = ({ close }) => html`<${Links}
    appId=${appId}
    entity=${entity}
    body=${body}
    name=${name}
    close=${close}
  />`;
  openDialog(content, { label: 'Links for spreadsheets', wide: true });
}

function Links({ appId, entity, body, name, close }) {
  const path = url`/api/v1/apps/${appId}/exports`;
  const list = useLoad(() => get(path), [appId, entity.name]);
  const [link, setLink] = useState(null);
  const [title, setTitle] = useState(name);
  const [error, setError] = useState(null);
  const make = async (event) => {
    event.preventDefault();
    try {
      setLink(await post(path, { ...body, name: title }));
      setError(null);
      list.reload();
    } catch (problem) {
      setError(problem);
    }
  };
  const revoke = async (shown) => {
    const text = 'Sheets that read it get no rows any more.';
    if (!(await confirm(`Revoke the link “${shown.name}”?`, text, { yes: 'Revoke' }))) return;
    await attempt(async () => {
      await remove(url`/api/v1/apps/${appId}/exports/${shown.id}`);
      toast('Link revoked.');
      if (link?.id === shown.id) setLink(null);
      list.reload();
    });
  };
  return html`<div class="stack">
    <h2>Links for spreadsheets</h2>
    <p class="dim">
      A link shows these rows as CSV to everyone who has it, with your rights each time it is read.
      It ends with them, or when it is revoked.
    </p>
    <form class="row wrap" onSubmit=${make}>
      <${Input}
        title="Name"
        autofocus
        required
        maxlength="100"
        value=${title}
        onInput=${(event) => setTitle(event.target.value)}
      />
      <button class="primary">${icon('link')}Make a link</button>
    </form>
    <${ErrorBox} error=${error} />
    ${link && html`<${NewLink} link=${link} />`}
    <${Loaded} of=${list}>
      ${(links) => html`<${Table}
        links=${links.filter((shown) => shown.entity === entity.name)}
        revoke=${revoke}
      />`}
    <//>
    <div class="actions"><button onClick=${() => close()}>Close</button></div>
  </div>`;
}

/** How a link is used: as it is, and in the cell of a sheet. */
const NewLink = ({ link }) => html`<div class="card stack" role="status">
  <${Copied} title="Address, for Power Query and others" text=${link.url} />
  <${Copied} title="Cell of Google Sheets" text=${`=IMPORTDATA("${link.url}")`} />
</div>`;

const Copied = ({ title, text }) => html`<label class="field">
  <span>${title}</span>
  <span class="row">
    <input class="mono grow" readonly value=${text} onFocus=${(event) => event.target.select()} />
    <button type="button" class="icon" aria-label=${`Copy: ${title}`} onClick=${() => copy(text)}>
      ${icon('copy')}
    </button>
  </span>
</label>`;

const Table = ({ links, revoke }) =>
  links.length
    ? html`<${Listing}
        heads=${['Name', 'By', 'Last read', '']}
        tabindex="0"
        role="region"
        aria-label="Links"
      >
      ${links.map(
        (link) => html`<tr key=${link.id}>
          <td>${link.name}</td>
          <td>${link.by}</td>
          <td>${link.last_used_at ? html`<${Ago} at=${link.last_used_at} />` : 'never'}</td>
          <td>
            <span class="row">
            ${
              link.url &&
              html`<${IconButton}
                isSmall
                glyph="copy"
                label=${`Copy the link ${link.name}`}
                onClick=${() => copy(link.url)}
              />`
            }
            <${IconButton}
              isSmall
              glyph="trash"
              label=${`Revoke the link ${link.name}`}
              onClick=${() => revoke(link)}
            />
            </span>
          </td>
        </tr>`,
      )}
    <//>`
    : html`<${Empty} title="No links yet" glyph="link" />`;
