/** The start: the apps and their tables, and the state of the shop for those who run it. */
import { html, useEffect } from '../core/kit.js';
import { user } from '../core/api.js';
import { A, go } from '../core/router.js';
import { Head, Lazy, OpenApp } from '../core/screen.js';
import {
  admin,
  apps,
  isAppAdmin,
  listReadable,
  nameAccount,
  pages,
  toWords,
} from '../core/store.js';
import { Empty, icon } from '../core/ui.js';
import { Tile } from '../kit/tile.js';

export default function Home() {
  const isEmpty = apps.value.length === 0;
  useEffect(() => {
    if (isEmpty && admin.value) go(['start']);
  }, [isEmpty]);
  if (isEmpty)
    return html`<${Empty} title="No app for you yet" glyph="app">
      Ask an administrator for a role on an app.
    <//>`;
  const tiles = pages.value.filter((page) => page.slot === 'tile' && !page.on.length);
  return html`<${Head}
      title=${`Hello, ${nameAccount(user.value)}`}
      sub="Ctrl K finds tables, records, users, jobs and routes."
      request=${{ method: 'GET', path: '/api/v1/apps' }}
    >
      ${admin.value && html`<${A} class="button" to=${['start']}>${icon('plus')}New app<//>`}
    <//>
    <div class="cards">
      ${apps.value.map((app) => html`<${AppCard} key=${app.id} app=${app} />`)}
      ${tiles.map(
        (page) => html`<section class="card" key=${page.plugin + page.id}>
          <h2>${page.title}</h2>
          <${Tile} page=${page} />
        </section>`,
      )}
    </div>
    ${(isAppAdmin.value || admin.value) && html`<${Lazy} load=${loadShop} />`}`;
}

const loadShop = () => import('./system/shop.js').then((module) => module.Shop);

function AppCard({ app }) {
  const tables = listReadable(app);
  return html`<section class="card">
    <h2 class="cut" title=${app.name}>${app.name}</h2>
    <p class="dim">${app.id} · version ${app.version}</p>
    ${app.url && html`<p><${OpenApp} url=${app.url} /></p>`}
    <ul class="plain">
      ${tables.map(
        (name) => html`<li key=${name}>
          <${A} to=${['data', app.id, name]}>${toWords(name)}<//>
        </li>`,
      )}
    </ul>
    ${!tables.length && html`<p class="dim">You may read none of its tables.</p>`}
  </section>`;
}
