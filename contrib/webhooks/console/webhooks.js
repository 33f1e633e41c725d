/** Webhooks of an app: a list, and a page for each with its deliveries. */
import { HookPage } from './hook.js';
import { editHook } from './form.js';

/** @param {{kit: any, page: any}} props */
export default function Webhooks({ kit, page }) {
  const { html, useEffect, Empty } = kit;
  const [, , , appId, hookId] = kit.route.value.parts;
  const place = ['pages', page.plugin, page.id];
  const own = kit.apps.value.filter((app) => app.admin);
  const firstId = own[0]?.id;
  useEffect(() => {
    if (!appId && firstId) location.replace(`#/${[...place, firstId].join('/')}`);
  }, [appId, firstId]);
  if (!firstId)
    return html`<${Empty} title="No app" glyph="app">There is no app here that you administer.<//>`;
  if (!appId) return null;
  const app = own.find((candidate) => candidate.id === appId);
  if (!app)
    return html`<${Empty} title="There is no such app" glyph="app">
      It may have been removed, or you are no admin of it.
    <//>`;
  const props = { kit, app, place: [...place, appId] };
  if (hookId) return html`<${HookPage} key=${hookId} hookId=${hookId} ...${props} />`;
  const choose = (id) => kit.go([...place, id]);
  return html`<${List} key=${appId} apps=${own} choose=${choose} ...${props} />`;
}

function List({ kit, app, apps, choose, place }) {
  const { html, url, useLoad, Head, Loaded, Empty, icon } = kit;
  const path = url`/api/v1/apps/${app.id}/webhooks`;
  const list = useLoad(() => kit.get(path), [path]);
  const add = async () => {
    const hook = await editHook(kit, app);
    if (hook) kit.go([...place, hook.id]);
  };
  return html`<${Head}
      title="Webhooks"
      sub="Changes of records, sent to other systems: signed, in order, until they are taken."
      request=${{ method: 'GET', path }}
    >
      <select class="apps" aria-label="App" onChange=${(event) => choose(event.target.value)}>
        ${apps.map(
          (candidate) => html`<option
            key=${candidate.id}
            value=${candidate.id}
            selected=${candidate.id === app.id}
          >
            ${candidate.name}
          </option>`,
        )}
      </select>
      <button class="primary" onClick=${add}>${icon('plus')}New webhook</button>
    <//>
    <${Loaded} of=${list}>
      ${(hooks) =>
        hooks.length
          ? html`<${Table} kit=${kit} hooks=${hooks} place=${place} />`
          : html`<${Empty} title="No webhooks" glyph="link">
            Another system gets each change of a table as a POST.
          <//>`}
    <//>`;
}

const Table = ({ kit, hooks, place }) => kit.html`<div class="scrollx">
  <table class="list">
    <thead>
      <tr><th>Name</th><th>Sends</th><th>To</th><th>State</th></tr>
    </thead>
    <tbody>
      ${hooks.map(
        (hook) => kit.html`<tr key=${hook.id}>
          <td class="nowrap"><${kit.A} to=${[...place, hook.id]}><b>${hook.name}</b><//></td>
          <td class="nowrap"><code>${hook.entity}</code> ${hook.on.join(', ')}</td>
          <td><code>${hook.url}</code></td>
          <td><${State} kit=${kit} hook=${hook} /></td>
        </tr>`,
      )}
    </tbody>
  </table>
</div>`;

/** @param {{kit: any, hook: any}} props */
export function State({ kit, hook }) {
  const { html, Ago } = kit;
  if (!hook.enabled) return html`<span class="tag warn">disabled</span>`;
  if (hook.failing_since)
    return html`<span class="nowrap">
      <span class="tag bad">failing</span> <span class="dim">since <${Ago} at=${hook.failing_since} /></span>
    </span>`;
  return html`<span class="tag good">enabled</span>`;
}
