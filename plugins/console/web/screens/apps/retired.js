/** Tables and columns that the manifest no longer names: kept until they are dropped here. */
import { html } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { Loaded, attempt, toast, useLoad } from '../../core/ui.js';

export function Retired({ id }) {
  const path = url`/api/v1/apps/${id}/schema/prune`;
  const retired = useLoad(() => post(path, { dryRun: true }), [id]);
  const drop = async (item) => {
    const place = item.column ? `${item.entity}.${item.column}` : item.entity;
    const text = `${item.rows} rows have a value in it. This cannot be undone.`;
    const isSure = await confirm(`Drop ${place} for good?`, text, { yes: 'Drop', typed: place });
    if (!isSure) return;
    await attempt(async () => {
      await post(path, { entity: item.entity, column: item.column ?? undefined });
      toast(`${place} was dropped.`);
      retired.reload();
    });
  };
  return html`<p class="dim">
      What a manifest no longer names is hidden and kept: it comes back with its data when a
      manifest names it again.
    </p>
    <${Loaded} of=${retired}>
      ${({ dropped }) =>
        dropped.length
          ? html`<${List} items=${dropped} drop=${drop} />`
          : html`<p>Nothing is retired.</p>`}
    <//>`;
}

const List = ({ items, drop }) => html`<table class="list">
  <thead>
    <tr><th>Table</th><th>Column</th><th class="num">Rows with a value</th><th /></tr>
  </thead>
  <tbody>
    ${items.map(
      (item) => html`<tr key=${item.entity + item.column}>
        <td>${item.entity}</td>
        <td>${item.column ?? html`<span class="dim">whole table</span>`}</td>
        <td class="num">${item.rows}</td>
        <td class="right">
          <button class="small" onClick=${() => drop(item)}>Drop…</button>
        </td>
      </tr>`,
    )}
  </tbody>
</table>`;
