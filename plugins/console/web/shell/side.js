/** The navigation at the left: tables of the apps, pages of plugins, screens of the server. */
import { html, signal, useEffect, useState } from '../core/kit.js';
import { signOut, user } from '../core/api.js';
import { A, route } from '../core/router.js';
import { Menu } from '../core/screen.js';
import { apps, listReadable, nameAccount, pages, saveSetting, toWords } from '../core/store.js';
import { icon, setTheme, theme } from '../core/ui.js';
import { openBuilder } from '../screens/builder/open.js';
import { listPlaces, openKeys, openPalette } from './places.js';

/** True while the navigation covers a narrow screen. */
export const drawer = signal(false);

const OF_TABLES = ['data', 'record', 'import'];
const THEMES = [
  ['light', 'sun'],
  ['dark', 'moon'],
  ['system', 'screen'],
];
const markCurrent = (isCurrent) => (isCurrent ? 'page' : undefined);

export function Side() {
  const [screen, appId, entity] = route.value.parts;
  useEffect(() => {
    drawer.value = false;
  }, [screen, appId, entity]);
  const openApp = OF_TABLES.includes(screen) ? appId : null;
  return html`<nav class="side" aria-label="Main">
    <${A} to=${[]} class="brand">
      <span class="mark" />
      <span class="cut">${document.documentElement.dataset.name}</span>
    <//>
    <button class="find" onClick=${openPalette}>
      ${icon('search')}
      <span>Search</span>
      <kbd>Ctrl K</kbd>
    </button>
    <div class="scroll">
      ${apps.value.map(
        (app) => html`<${AppLinks}
          key=${app.id}
          app=${app}
          open=${app.id === openApp}
          entity=${entity}
        />`,
      )}
      <${PluginLinks} />
      <${ServerLinks} />
    </div>
    <${UserMenu} />
  </nav>`;
}

function AppLinks({ app, open, entity }) {
  const [isUnfolded, setUnfolded] = useState(true);
  const tables = isUnfolded ? listReadable(app) : [];
  return html`<h2>
      <button
        class="fold"
        title=${app.name}
        aria-expanded=${isUnfolded}
        onClick=${() => setUnfolded(!isUnfolded)}
      >
        ${icon(isUnfolded ? 'down' : 'right')}
        <span class="cut">${app.name}</span>
      </button>
    </h2>
    ${tables.map(
      (name) => html`<${A}
        key=${name}
        to=${['data', app.id, name]}
        aria-current=${markCurrent(open && entity === name)}
      >
        ${icon('table')}
        <span class="cut">${toWords(name)}</span>
      <//>`,
    )}
    ${
      isUnfolded &&
      app.admin &&
      html`<button class="addtable" onClick=${() => openBuilder('addTable', app.id)}>
        ${icon('plus')}New table
      </button>`
    }`;
}

function PluginLinks() {
  const [screen, plugin, id] = route.value.parts;
  const listed = pages.value.filter((page) => page.slot === 'page');
  if (!listed.length) return null;
  const isShown = (page) => screen === 'pages' && plugin === page.plugin && id === page.id;
  return html`<h2>Pages</h2>
    ${listed.map(
      (page) => html`<${A}
        key=${page.plugin + page.id}
        to=${['pages', page.plugin, page.id]}
        aria-current=${markCurrent(isShown(page))}
      >
        ${icon(page.icon)}
        <span class="cut">${page.title}</span>
      <//>`,
    )}`;
}

function ServerLinks() {
  const [screen] = route.value.parts;
  return html`<h2>Server</h2>
    ${listPlaces().map(
      ({ name, title, glyph }) => html`<${A}
        key=${name}
        to=${[name]}
        aria-current=${markCurrent(screen === name)}
      >
        ${icon(glyph)}
        ${title}
      <//>`,
    )}`;
}

function UserMenu() {
  const name = nameAccount(user.value);
  const label = html`<span class="avatar">${name.slice(0, 1).toUpperCase()}</span>
    <span class="cut">${name}</span>`;
  return html`<div class="me">
    <${Menu} className="quiet who" title="Account" align="above" label=${label}>
      ${(close) => html`<${UserChoices} close=${close} />`}
    <//>
  </div>`;
}

function UserChoices({ close }) {
  const showKeys = () => {
    close();
    openKeys();
  };
  return html`<${ThemeChoice} />
    <${A} to=${['account']} onClick=${close}>${icon('users')}Your account<//>
    <button onClick=${showKeys}>${icon('code')}Keyboard</button>
    <button onClick=${signOut}>${icon('out')}Sign out</button>`;
}

function ThemeChoice() {
  const choose = (name) => {
    setTheme(name);
    saveSetting('theme', name);
  };
  return html`<div class="choice" role="group" aria-label="Theme">
    ${THEMES.map(([name, glyph]) => {
      const isChosen = theme.value === name;
      return html`<button
        key=${name}
        class=${isChosen ? 'on' : ''}
        aria-pressed=${isChosen}
        title=${toWords(name)}
        onClick=${() => choose(name)}
      >
        ${icon(glyph)}
      </button>`;
    })}
  </div>`;
}
