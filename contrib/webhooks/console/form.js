/** The form of a webhook, and its secret, which is shown once. */

const EVENTS = {
  enter: 'a record comes into scope',
  change: 'a record in scope changes',
  leave: 'a record goes out of scope, or is deleted',
};
const WHERE_EXAMPLE = '{"stage": {"$ne": "Lost"}}';

/** Make or change a webhook. Resolves with it, or with nothing. */
export async function editHook(kit, app, hook = null) {
  const path = kit.url`/api/v1/apps/${app.id}/webhooks`;
  const roles = await kit.get(kit.url`/api/v1/apps/${app.id}/roles`);
  const names = roles.map((role) => role.name);
  const content = ({ close }) =>
    kit.html`<${Form} kit=${kit} app=${app} hook=${hook} path=${path} roles=${names} close=${close} />`;
  const label = hook ? `Edit ${hook.name}` : 'New webhook';
  const saved = await kit.openDialog(content, { label, wide: true });
  if (saved?.secret) await showSecret(kit, saved.name, saved.secret);
  return saved;
}

/** Show a secret; it is never shown again. */
export function showSecret(kit, name, secret) {
  const { html, openDialog, copy } = kit;
  const content = ({ close }) => html`<div class="stack">
    <h2>Secret of ${name}</h2>
    <p>The receiver verifies signatures with it. Copy it now: it is not shown again.</p>
    <input
      readonly
      class="mono"
      aria-label="Secret"
      value=${secret}
      onFocus=${(event) => event.target.select()}
    />
    <div class="actions">
      <button onClick=${() => copy(secret, 'Secret copied')}>Copy</button>
      <button class="primary" onClick=${() => close()}>Done</button>
    </div>
  </div>`;
  return openDialog(content, { label: 'Secret' });
}

function readStart(app, hook) {
  return {
    name: hook?.name ?? '',
    url: hook?.url ?? '',
    entity: hook?.entity ?? app.entities[0] ?? '',
    where: hook?.where ? JSON.stringify(hook.where, null, 2) : '',
    fields: hook?.fields?.join(', ') ?? '',
    as: hook?.as ?? '',
  };
}

function buildBody(form, events) {
  const fields = form.fields.split(/[\s,]+/).filter(Boolean);
  return {
    name: form.name,
    url: form.url,
    entity: form.entity,
    on: Object.keys(EVENTS).filter((event) => events.has(event)),
    where: form.where.trim() ? JSON.parse(form.where) : null,
    fields: fields.length ? fields : null,
    as: form.as || null,
  };
}

function Form({ kit, app, hook, path, roles, close }) {
  const { html, useForm, useState, Input, ErrorBox } = kit;
  const [form, bind] = useForm(readStart(app, hook));
  const [events, setEvents] = useState(new Set(hook?.on ?? Object.keys(EVENTS)));
  const [error, setError] = useState(null);
  const toggle = (event) => {
    const changed = new Set(events);
    if (!changed.delete(event)) changed.add(event);
    setEvents(changed);
  };
  const submit = async (event) => {
    event.preventDefault();
    try {
      const body = buildBody(form, events);
      const saved = hook ? await kit.patch(`${path}/${hook.id}`, body) : await kit.post(path, body);
      close(saved);
    } catch (problem) {
      const isJson = problem instanceof SyntaxError;
      setError(isJson ? new Error(`Where is not JSON: ${problem.message}`) : problem);
    }
  };
  return html`<form class="stack" onSubmit=${submit} autocomplete="off">
    <h2>${hook ? hook.name : 'New webhook'}</h2>
    <${Input} title="Name" required autofocus maxlength="100" ...${bind('name')} />
    <${Input}
      title="URL"
      class="mono"
      required
      placeholder="https://example.com/hooks"
      note="or $secret:NAME"
      ...${bind('url')}
    />
    <label class="field">
      <span>Table</span>
      <select ...${bind('entity')}>
        ${app.entities.map(
          (name) => html`<option key=${name} value=${name} selected=${name === form.entity}>
            ${name}
          </option>`,
        )}
      </select>
    </label>
    <div class="field" role="group" aria-label="When">
      <span>When</span>
      ${Object.entries(EVENTS).map(
        ([event, text]) => html`<label key=${event} class="field line">
          <input type="checkbox" checked=${events.has(event)} onChange=${() => toggle(event)} />
          <span><b>${event}</b> <i>${text}</i></span>
        </label>`,
      )}
    </div>
    <label class="field">
      <span>Where <i>as in a query; all records without it</i></span>
      <textarea class="mono" rows="3" placeholder=${WHERE_EXAMPLE} spellcheck=${false} ...${bind('where')} />
    </label>
    <${Input}
      title="Fields"
      class="mono"
      note="all without it"
      placeholder="title, value"
      ...${bind('fields')}
    />
    <label class="field">
      <span>With the rights of</span>
      <select ...${bind('as')}>
        <option value="" selected=${!form.as}>an admin: everything is sent</option>
        ${roles.map(
          (name) => html`<option key=${name} value=${name} selected=${name === form.as}>
            ${name}
          </option>`,
        )}
      </select>
    </label>
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">${hook ? 'Save' : 'Create'}</button>
    </div>
  </form>`;
}
