/** A new app: a name, and a table to begin with. */
import { html, useState } from '../../core/kit.js';
import { post } from '../../core/api.js';
import { go } from '../../core/router.js';
import { apps, loadApps } from '../../core/store.js';
import { ErrorBox, Input } from '../../core/ui.js';
import { AccessChoice, grantAccess } from './access.js';
import { EXAMPLES } from './examples.js';
import { toName } from './names.js';
import { ColumnRows, FIRST_COLUMNS, toEntity } from './table.js';

const RESERVED = /^(core|schema|public|information_schema|pg_.*|caudex_.*)$/;

/** The id of an app from its name: one that no app has. */
export function toAppId(name) {
  const plain = toName(name);
  const base = RESERVED.test(plain) ? `app_${plain}` : plain;
  const taken = new Set((apps.value ?? []).map((app) => app.id));
  let id = base;
  for (let number = 2; taken.has(id); number += 1) id = `${base.slice(0, 60)}_${number}`;
  return id;
}

/** The form of an app with a blank table. */
export function BlankApp() {
  const [name, setName] = useState('');
  const [table, setTable] = useState('');
  const [columns, setColumns] = useState(FIRST_COLUMNS);
  const [access, setAccess] = useState('all');
  const [state, setState] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const entity = toEntity(table, columns);
      if (!toName(name) || !entity) throw new Error('A name needs at least one letter.');
      const appId = toAppId(name);
      await post('/api/v1/apps', { appId, name: name.trim(), dataContract: [entity] });
      await grantAccess(appId, [entity.entityName], access);
      await loadApps();
      go(['data', appId, entity.entityName]);
    } catch (error) {
      setState({ error });
    }
  };
  return html`<form class="stack builder card" onSubmit=${submit}>
    <${Input}
      title="Name of the app"
      autofocus
      required
      maxlength="60"
      placeholder="Workshop"
      value=${name}
      onInput=${(event) => setName(event.target.value)}
    />
    <${Input}
      title="First table"
      required
      maxlength="60"
      placeholder="Orders"
      value=${table}
      onInput=${(event) => setTable(event.target.value)}
    />
    <${ColumnRows} columns=${columns} change=${setColumns} />
    <${AccessChoice} chosen=${access} change=${setAccess} />
    <${ErrorBox} error=${state.error} />
    <div><button class="primary" disabled=${state.busy}>Make the app</button></div>
  </form>`;
}

/** Apps to begin with. */
export function Examples() {
  const [state, setState] = useState({});
  const make = async ({ name, dataContract }) => {
    setState({ busy: true });
    try {
      const appId = toAppId(name);
      await post('/api/v1/apps', { appId, name, dataContract });
      const tables = dataContract.map((entity) => entity.entityName);
      await grantAccess(appId, tables, 'all');
      await loadApps();
      go(['data', appId, tables.at(-1)]);
    } catch (error) {
      setState({ error });
    }
  };
  return html`<div class="cards">
      ${EXAMPLES.map(
        (example) => html`<button
          class="card offer"
          key=${example.name}
          disabled=${state.busy}
          onClick=${() => make(example)}
        >
          <b>${example.name}</b>
          <span class="dim">${example.sub}</span>
        </button>`,
      )}
    </div>
    <${ErrorBox} error=${state.error} />`;
}
