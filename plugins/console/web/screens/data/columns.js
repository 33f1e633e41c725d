/** Which columns a table shows, in which order: kept in the database for the user. */
import { html, useState } from '../../core/kit.js';
import { keep, settings, words } from '../../core/store.js';
import { icon } from '../../core/ui.js';
import { allFields } from '../../parts/values.js';

const key = (appId, entity) => `columns:${appId}.${entity.name}`;

/** The fields to show; those that the app no longer has are left out. */
export function shownFields(appId, entity, chosen) {
  const all = allFields(entity);
  const names = chosen ?? settings.value[key(appId, entity)];
  const kept = names?.map((name) => all.find((f) => f.name === name)).filter(Boolean);
  return kept?.length
    ? kept
    : [...entity.fields.filter((f) => f.type !== 'json').slice(0, 9), all[all.length - 1]];
}

export function Columns({ appId, entity, close }) {
  const all = allFields(entity);
  const [names, set] = useState(() => shownFields(appId, entity).map((f) => f.name));
  const [find, setFind] = useState('');
  const save = (e) => {
    e.preventDefault();
    keep(key(appId, entity), names.length ? names : null);
    close();
  };
  const move = (i, step) => {
    const next = [...names];
    next.splice(i + step, 0, next.splice(i, 1)[0]);
    set(next);
  };
  const rest = all.filter(
    (f) => !names.includes(f.name) && words(f.name).toLowerCase().includes(find.toLowerCase()),
  );
  return html`<form onSubmit=${save}>
    <h2>Columns</h2>
    <ul class="plain columns">
      ${names.map(
        (name, i) => html`<li key=${name} class="row">
          <label class="row grow">
            <input type="checkbox" checked onChange=${() => set(names.filter((n) => n !== name))} />
            ${words(name)}
          </label>
          <button
            type="button"
            class="quiet icon small"
            aria-label=${`Move ${name} up`}
            disabled=${i === 0}
            onClick=${() => move(i, -1)}
          >
            ${icon('up')}
          </button>
          <button
            type="button"
            class="quiet icon small"
            aria-label=${`Move ${name} down`}
            disabled=${i === names.length - 1}
            onClick=${() => move(i, 1)}
          >
            ${icon('down')}
          </button>
        </li>`,
      )}
    </ul>
    <h3>Not shown</h3>
    ${
      all.length > 20 &&
      html`<input
        aria-label="Find a field"
        placeholder="Find a field"
        value=${find}
        onInput=${(e) => setFind(e.target.value)}
      />`
    }
    <ul class="plain columns">
      ${rest.slice(0, 60).map(
        (f) => html`<li key=${f.name}>
          <label class="row">
            <input type="checkbox" onChange=${() => set([...names, f.name])} />
            ${words(f.name)}
          </label>
        </li>`,
      )}
    </ul>
    <div class="actions">
      <button
        type="button"
        class="quiet"
        onClick=${() => {
          keep(key(appId, entity), null);
          close();
        }}
      >
        Reset
      </button>
      <span class="grow" />
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Save</button>
    </div>
  </form>`;
}
