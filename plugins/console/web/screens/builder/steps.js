/**
 * Steps of the builder: operations on a manifest that are planned, installed, and taken back. A
 * step is made from the manifest that its author has seen (`If-Match`).
 */
import { html, useEffect, useState } from '../../core/kit.js';
import { ApiError, api, get, patch, post, put, url } from '../../core/api.js';
import { confirm, openDialog } from '../../core/dialogs.js';
import { formatJson, stringify } from '../../core/json.js';
import { A } from '../../core/router.js';
import { findApp, loadApps, toWords } from '../../core/store.js';
import { ErrorBox, attempt, fail, toast } from '../../core/ui.js';
import { compareLines } from '../apps/installs.js';
import { Lines } from '../apps/installs.js';
import { Plan } from '../apps/manifest.js';

/** Milliseconds of rest before what is typed is planned. */
const REST = 300;

/** The manifest of an app with its entity tag. */
export async function loadManifest(appId) {
  const reply = await api('GET', url`/api/v1/apps/${appId}/manifest`, { full: true });
  return { manifest: reply.body, etag: reply.headers.get('etag') };
}

async function sendStep(appId, operations, etag, dryRun) {
  const path = url`/api/v1/apps/${appId}/manifest/edit`;
  const headers = { 'if-match': etag };
  const options = { body: { operations, dryRun }, headers, full: true };
  const reply = await api('POST', path, options);
  return { ...reply.body, etag: reply.headers.get('etag') };
}

/** The rows of the tables that a plan changes, by their names. */
export function countRows(changes) {
  const counted = changes.filter((change) => change.rows !== undefined);
  return Object.fromEntries(counted.map((change) => [change.entity, change.rows]));
}

/**
 * Install operations, and offer to take them back.
 * @param {string} done What a toast says, as “Phone was added.”
 */
export async function install(appId, operations, etag, done) {
  const { etag: newEtag } = await sendStep(appId, operations, etag, false);
  await loadApps();
  const back = () => attempt(() => undo(appId, newEtag));
  toast(done, { action: { title: 'Undo', run: back } });
}

/** Go back to the manifest before the present one, unless others have changed it since. */
async function undo(appId, etag) {
  const path = url`/api/v1/apps/${appId}/manifest/undo`;
  const { changes } = await post(path, {}, { headers: { 'if-match': etag } });
  await loadApps();
  toast(changes.length ? 'Taken back. The data of the step is kept.' : 'Taken back.');
}

/** Show what going back to a former manifest changes, and go back. @returns {Promise<boolean>} */
export async function openUndo(appId, stamp) {
  const path = url`/api/v1/apps/${appId}/manifest/undo`;
  try {
    const { manifest, etag } = await loadManifest(appId);
    const headers = { 'if-match': etag };
    const plan = await post(path, { to: stamp, dryRun: true }, { headers });
    const content = ({ close }) => html`<div class="stack builder">
      <h2>Go back to this version?</h2>
      <${Preview} before=${manifest} plan=${plan} />
      <div class="actions">
        <button onClick=${() => close(false)}>Cancel</button>
        <button class="primary" onClick=${() => close(true)}>Go back</button>
      </div>
    </div>`;
    if (!(await openDialog(content, { label: 'Go back', wide: true }))) return false;
    await post(path, { to: stamp }, { headers });
    await loadApps();
    toast('The former version is installed. Data of both is kept.');
    return true;
  } catch (error) {
    fail(error);
    return false;
  }
}

/** Allow edits of an app that is deployed from a folder, if its admin says so. */
async function takeOver(appId) {
  const text =
    'The next deploy from that folder takes your changes back, unless they are pulled into it first (caudex app pull).';
  const isSure = await confirm('Change this app here?', text, { yes: 'Change it here' });
  if (!isSure) return false;
  await put(url`/api/v1/apps/${appId}/manifest/source`, { managedBy: null });
  await loadApps();
  return true;
}

/**
 * Open a dialog for one step. `Form` is a component that gets `manifest` and `change`, which it
 * calls with the operations of what is typed, or null while that is incomplete.
 * @param {{appId: string, title: string, verb: string, Form: any, done: () => string,
 *   danger?: boolean}} step
 * @returns {Promise<boolean>} whether it was installed
 */
export async function openStep(step) {
  try {
    const start = await loadManifest(step.appId);
    const content = ({ close }) => html`<${Step} step=${step} start=${start} close=${close} />`;
    return Boolean(await openDialog(content, { label: step.title, wide: true }));
  } catch (error) {
    fail(error);
    return false;
  }
}

/** The plan of operations on a manifest that was read: asked again whenever one of both changes. */
function usePlan(appId, operations, present) {
  const [plan, setPlan] = useState({});
  const asked = JSON.stringify(operations);
  useEffect(() => {
    if (!operations) {
      setPlan({});
      return undefined;
    }
    let isLate = false;
    setPlan((before) => ({ ...before, busy: true }));
    const ask = async () => {
      try {
        const reply = await sendStep(appId, operations, present.etag, true);
        if (!isLate) setPlan({ ...reply, asked });
      } catch (error) {
        if (!isLate) setPlan({ error, asked });
      }
    };
    const timer = setTimeout(ask, REST);
    return () => {
      isLate = true;
      clearTimeout(timer);
    };
  }, [asked, present]);
  return plan;
}

function Step({ step, start, close }) {
  const { appId, title, verb, Form, danger } = step;
  const [present, setPresent] = useState(start);
  const [operations, setOperations] = useState(null);
  const [state, setState] = useState({});
  const plan = usePlan(appId, operations, present);
  const reload = async () => {
    setState({});
    setPresent(await loadManifest(appId));
  };
  const submit = async (event) => {
    event.preventDefault();
    if (!operations || state.busy) return;
    setState({ busy: true });
    try {
      await install(appId, operations, present.etag, step.done(operations));
      close(true);
    } catch (error) {
      setState({ error });
    }
  };
  const error = state.error ?? plan.error;
  return html`<form class="stack builder" onSubmit=${submit}>
    <h2>${title}</h2>
    <${Form} manifest=${present.manifest} change=${setOperations} />
    <${Trouble} appId=${appId} error=${error} reload=${reload} />
    <${Preview} before=${present.manifest} plan=${plan} />
    <div class="actions">
      <button type="button" onClick=${() => close(false)}>Cancel</button>
      <button
        class=${danger ? 'danger' : 'primary'}
        disabled=${!operations || Boolean(plan.error) || state.busy}
      >
        ${verb}
      </button>
    </div>
  </form>`;
}

/** What is in the way, and what can be done about it. */
function Trouble({ appId, error, reload }) {
  if (!(error instanceof ApiError)) return html`<${ErrorBox} error=${error} />`;
  if (error.status === 412)
    return html`<div class="notice warn" role="alert">
      <b>Others have changed the app meanwhile.</b>
      <p>Your entries stay. Look at the plan again: it is made from their version then.</p>
      <button type="button" onClick=${reload}>Show the plan on their version</button>
    </div>`;
  if (error.status === 409) {
    const allow = () => attempt(async () => (await takeOver(appId)) && reload());
    return html`<div class="notice warn" role="alert">
      <b>This app is deployed from a folder.</b>
      <p>Change its manifest.json there, or change the app here from now on.</p>
      <button type="button" onClick=${allow}>Change it here…</button>
    </div>`;
  }
  return html`<${ErrorBox} error=${error} retry=${reload} />
    ${(error.body?.rows ?? []).map(
      (rows) =>
        html`<${RowsInTheWay} key=${rows.entity + rows.field} appId=${appId} rows=${rows} />`,
    )}`;
}

/** Records that prevent a step: each opens in a tab of its own, and all of them in the table. */
function RowsInTheWay({ appId, rows }) {
  const { entity, field, count, ids } = rows;
  const isThere = findApp(appId)?.entities.includes(entity);
  if (!ids.length || !isThere) return null;
  const where = stringify({ id: { $in: ids } });
  const noun = count === 1 ? 'record' : 'records';
  const rest = count - ids.length;
  return html`<section class="notice" aria-label=${`Records to correct: ${toWords(field)}`}>
    <p>
      <${A} to=${['data', appId, entity]} query=${{ where }} target="_blank">
        ${count.toLocaleString()} ${noun} to correct
      <//>${rest > 0 && html`<span class="dim">, the first ${ids.length} of them</span>`}:
    </p>
    <ul class="plain ids">
      ${ids.map(
        (id) => html`<li key=${id}>
          <${A} to=${['record', appId, entity, id]} target="_blank"><code>${id}</code><//>
        </li>`,
      )}
    </ul>
  </section>`;
}

/** The plan with row counts and warnings; the difference of the manifest is folded. */
function Preview({ before, plan }) {
  if (!plan.changes) return null;
  const lines = () => compareLines(formatJson(before), formatJson(plan.manifest));
  return html`<div class=${plan.busy ? 'busy' : ''} aria-live="polite">
    ${
      plan.changes.length
        ? html`<${Plan} changes=${plan.changes} rows=${countRows(plan.changes)} />`
        : html`<p class="notice">No table is touched: only the manifest changes.</p>`
    }
    ${plan.warnings.map((text) => html`<p key=${text} class="notice warn">${text}</p>`)}
    <details>
      <summary>Change of the manifest</summary>
      <${Lines} lines=${lines()} />
    </details>
  </div>`;
}

/** The description of a field in a manifest. */
export function findField(manifest, entity, name) {
  return findEntityOf(manifest, entity)?.fields?.find((field) => field.name === name);
}

export const listEntities = (manifest) => manifest.dataContract ?? manifest.data_contract ?? [];
export const nameOf = (entity) => entity.entityName ?? entity.entity_name;
export const findEntityOf = (manifest, name) =>
  listEntities(manifest).find((entity) => nameOf(entity) === name);

// --- who may see and change a table, in four plain choices: permissions of the role `member`

const ROLE = 'member';

/** @type {[name: string, title: string, keys: string[]][]} */
const CHOICES = [
  ['all', 'Members see and change all records', ['read', 'create', 'update', 'delete']],
  ['own', 'Members see all and change their own', ['read', 'create', 'update.own', 'delete.own']],
  ['read', 'Members see all, admins change them', ['read']],
  ['admins', 'Admins only', []],
];

/** @param {{chosen: string, change: (name: string) => void, appId?: string}} props */
export function AccessChoice({ chosen, change, appId }) {
  return html`<fieldset class="choices">
    <legend>Who may see and change it?</legend>
    ${CHOICES.map(
      ([name, title]) => html`<label class="row check" key=${name}>
        <input
          type="radio"
          name="access"
          checked=${chosen === name}
          onChange=${() => change(name)}
        />
        ${title}
      </label>`,
    )}
    <small class="dim">
      Members have the role “${ROLE}” on the app. Each right can be set at${' '}
      ${appId ? html`<${A} to=${['roles', appId]} target="_blank">Roles<//>` : 'Roles'}.
    </small>
  </fieldset>`;
}

/** Give the role `member`, which is made if it is missing, what was chosen for tables. */
export async function grantAccess(appId, entities, chosen) {
  const [, , actions] = CHOICES.find(([name]) => name === chosen);
  if (!actions.length) return;
  const keys = entities.flatMap((entity) => actions.map((action) => `${entity}.${action}`));
  const path = url`/api/v1/apps/${appId}/roles`;
  const roles = await get(path);
  const role = roles.find(({ name }) => name === ROLE);
  if (role) {
    const permissions = [...new Set([...role.permissions, ...keys])];
    await patch(url`/api/v1/apps/${appId}/roles/${ROLE}`, { permissions });
  } else {
    const description = 'Works with the records of the app';
    await post(path, { name: ROLE, description, permissions: keys });
  }
}
