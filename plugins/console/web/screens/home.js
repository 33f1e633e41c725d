/** The start: the apps and their tables. */
import { html, useEffect } from '../core/kit.js';
import { A, go } from '../core/router.js';
import { admin, apps, pages, readable, words } from '../core/store.js';
import { Empty, Head, icon } from '../core/ui.js';
import { Tile } from '../kit/tile.js';
import { user } from '../core/api.js';

export default function Home() {
  const none = apps.value.length === 0;
  useEffect(() => {
    if (none && admin.value) go(['start']);
  }, [none]);
  if (none)
    return html`<${Empty} title="No app for you yet" glyph="app">
      Ask an administrator for a role on an app.
    <//>`;
  return html`<${Head}
      title=${`Hello, ${user.value.display_name || user.value.username}`}
      sub="Ctrl K finds tables, records, users, jobs and routes."
      request=${{ method: 'GET', path: '/api/v1/apps' }}
    >
      ${admin.value && html`<${A} class="button" to=${['start']}>${icon('plus')}New app<//>`}
    <//>
    <div class="cards">
      ${apps.value.map(
        (app) => html`<section class="card" key=${app.id}>
          <h2>${app.name}</h2>
          <p class="dim">${app.id} · version ${app.version}</p>
          <ul class="plain">
            ${readable(app).map(
              (name) => html`<li key=${name}>
                <${A} to=${['data', app.id, name]}>${words(name)}<//>
              </li>`,
            )}
          </ul>
          ${!readable(app).length && html`<p class="dim">You may read none of its tables.</p>`}
        </section>`,
      )}
      ${pages.value
        .filter((p) => p.slot === 'tile')
        .map(
          (page) => html`<section class="card" key=${page.plugin + page.id}>
            <h2>${page.title}</h2>
            <${Tile} page=${page} />
          </section>`,
        )}
    </div>`;
}
