/** Which columns a table shows, in which order: kept in the database for the user. */
import { html, useState } from '../../core/kit.js';
import { route, setQuery } from '../../core/router.js';
import { saveSetting, settings, toWords } from '../../core/store.js';
import { icon } from '../../core/ui.js';
import { listFields } from '../../parts/values.js';

/** Columns of a table for which none were chosen. */
const FIRST_COLUMNS = 9;
/** Fields of the list of those that are not shown, and from when on it can be searched. */
const MOST_LISTED = 60;
const SEARCHED = 20;

const buildKey = (appId, entity) => `columns:${appId}.${entity.name}`;
const matches = (name, text) => toWords(name).toLowerCase().includes(text.toLowerCase());

/** The fields to show; those that the app no longer has are left out. */
export function chooseFields(appId, entity, chosen) {
  const everyField = listFields(entity);
  const names = chosen ?? settings.value[buildKey(appId, entity)] ?? [];
  const fields = names.map((name) => everyField.find((field) => field.name === name));
  const present = fields.filter(Boolean);
  if (present.length) return present;
  const plain = entity.fields.filter((field) => field.type !== 'json');
  return [...plain.slice(0, FIRST_COLUMNS), everyField.at(-1)];
}

/** Show a table without a column. */
export function hideColumn(appId, entity, name) {
  const chosen = route.value.query.columns?.split(',');
  const shown = chooseFields(appId, entity, chosen).map((field) => field.name);
  saveSetting(
    buildKey(appId, entity),
    shown.filter((other) => other !== name),
  );
  if (chosen) setQuery({ columns: null });
}

export function Columns({ appId, entity, close }) {
  const everyField = listFields(entity);
  const [names, setNames] = useState(() => chooseFields(appId, entity).map((field) => field.name));
  const [text, setText] = useState('');
  const finish = (chosen) => {
    saveSetting(buildKey(appId, entity), chosen);
    close();
  };
  const save = (event) => {
    event.preventDefault();
    finish(names.length ? names : null);
  };
  const hide = (name) => setNames(names.filter((other) => other !== name));
  const move = (index, step) => {
    const moved = [...names];
    const [name] = moved.splice(index, 1);
    moved.splice(index + step, 0, name);
    setNames(moved);
  };
  const hidden = everyField
    .map((field) => field.name)
    .filter((name) => !names.includes(name) && matches(name, text));
  return html`<form onSubmit=${save}>
    <h2>Columns</h2>
    <ul class="plain columns">
      ${names.map(
        (name, index) => html`<${ShownColumn}
          key=${name}
          name=${name}
          isFirst=${index === 0}
          isLast=${index === names.length - 1}
          move=${(step) => move(index, step)}
          hide=${() => hide(name)}
        />`,
      )}
    </ul>
    <h3>Not shown</h3>
    ${
      everyField.length > SEARCHED &&
      html`<input
        aria-label="Find a field"
        placeholder="Find a field"
        value=${text}
        onInput=${(event) => setText(event.target.value)}
      />`
    }
    <ul class="plain columns">
      ${hidden.slice(0, MOST_LISTED).map(
        (name) => html`<li key=${name}>
          <label class="row">
            <input type="checkbox" onChange=${() => setNames([...names, name])} />
            ${toWords(name)}
          </label>
        </li>`,
      )}
    </ul>
    <div class="actions">
      <button type="button" class="quiet" onClick=${() => finish(null)}>Reset</button>
      <span class="grow" />
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Save</button>
    </div>
  </form>`;
}

function ShownColumn({ name, isFirst, isLast, move, hide }) {
  return html`<li class="row">
    <label class="row grow">
      <input type="checkbox" checked onChange=${hide} />
      ${toWords(name)}
    </label>
    <button
      type="button"
      class="quiet icon small"
      aria-label=${`Move ${name} up`}
      disabled=${isFirst}
      onClick=${() => move(-1)}
    >
      ${icon('up')}
    </button>
    <button
      type="button"
      class="quiet icon small"
      aria-label=${`Move ${name} down`}
      disabled=${isLast}
      onClick=${() => move(1)}
    >
      ${icon('down')}
    </button>
  </li>`;
}
