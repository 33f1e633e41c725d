/** API keys: of the caller, and of a service account for core admins. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url } from '../../core/api.js';
import { confirm, openDialog } from '../../core/dialogs.js';
import { Ago, Listing, copy, formatTime } from '../../core/screen.js';
import {
  Empty,
  ErrorBox,
  Input,
  Loaded,
  attempt,
  icon,
  toast,
  useForm,
  useLoad,
} from '../../core/ui.js';

const PATH = '/api/v1/auth/keys';
const HOUR = 3600;

/** The keys of `owner`, a service account; without one the caller's own. */
export function Keys({ owner = null }) {
  const list = useLoad(() => get(PATH, owner && { user: owner.id }), [owner?.id]);
  const show = async (content, label) => {
    const isDone = await openDialog(content, { label });
    if (isDone) list.reload();
  };
  const add = () =>
    show((dialog) => html`<${NewKey} owner=${owner} ...${dialog} />`, 'New API key');
  const replace = (key) =>
    show((dialog) => html`<${Replace} apiKey=${key} ...${dialog} />`, 'Replace an API key');
  const revoke = async (key) => {
    const text = 'Programs that send it are refused at once, on every server.';
    const isSure = await confirm(`Revoke the key “${key.name}”?`, text, { yes: 'Revoke' });
    if (!isSure) return;
    await attempt(async () => {
      await remove(url`/api/v1/auth/keys/${key.id}`);
      toast('API key revoked.');
      list.reload();
    });
  };
  return html`<section>
    <div class="head">
      <h2>API keys</h2>
      <button onClick=${add}>${icon('plus')}New key</button>
    </div>
    <${Loaded} of=${list}>
      ${(keys) =>
        keys.length
          ? html`<${List} keys=${keys} replace=${replace} revoke=${revoke} />`
          : html`<${Empty} title="No API keys" glyph="key">
            Scripts and spreadsheets send one in place of a password.
          <//>`}
    <//>
  </section>`;
}

const List = ({
  keys,
  replace,
  revoke,
}) => html`<${Listing} heads=${['Name', 'Key', 'Limits', 'Ends', 'Last used', '']}>
  ${keys.map(
    (key) => html`<tr key=${key.id}>
      <td><b>${key.name}</b></td>
      <td class="nowrap"><code>${key.prefix}…</code></td>
      <td><${Limits} apiKey=${key} /></td>
      <td class="nowrap">${key.expires ? formatTime(key.expires) : 'never'}</td>
      <td class="nowrap" title=${key.last_address ?? ''}><${Ago} at=${key.last_used_at} /></td>
      <td class="right nowrap">
        <button class="small" onClick=${() => replace(key)}>Replace</button>
        <button class="small quiet" onClick=${() => revoke(key)}>Revoke</button>
      </td>
    </tr>`,
  )}
<//>`;

/** The apps and permissions that a key is narrowed to. */
function Limits({ apiKey }) {
  const names = [...(apiKey.apps ?? []), ...(apiKey.permissions ?? [])];
  if (!names.length) return html`<span class="dim">none</span>`;
  return names.map((name) => html`<code key=${name}>${name}</code> `);
}

/** A form that ends in a key, which is shown once. */
function KeyForm({ title, yes, send, close, children }) {
  const [apiKey, setApiKey] = useState(null);
  const [needsCode, setNeedsCode] = useState(false);
  const [code, setCode] = useState('');
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      setApiKey(await send(code ? { code } : {}));
      setError(null);
    } catch (problem) {
      if (problem.body?.secondFactor) setNeedsCode(true);
      setError(problem);
    }
  };
  if (apiKey) return html`<${ShownOnce} apiKey=${apiKey} close=${close} />`;
  return html`<form class="stack" onSubmit=${submit} autocomplete="off">
    <h2>${title}</h2>
    ${children}
    ${
      needsCode &&
      html`<${Input}
        title="Code of the second factor"
        required
        inputmode="numeric"
        autocomplete="one-time-code"
        value=${code}
        onInput=${(event) => setCode(event.target.value)}
      />`
    }
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">${yes}</button>
    </div>
  </form>`;
}

const ShownOnce = ({ apiKey, close }) => html`<div class="stack">
  <h2>${apiKey.name}</h2>
  <p>Copy the key now: it is not shown again.</p>
  <input
    readonly
    aria-label="API key"
    value=${apiKey.key}
    onFocus=${(event) => event.target.select()}
  />
  <div class="actions">
    <button onClick=${() => copy(apiKey.key, 'API key copied')}>Copy</button>
    <button class="primary" onClick=${() => close(true)}>Done</button>
  </div>
</div>`;

const splitNames = (text) => text.split(/[\s,]+/).filter(Boolean);

function NewKey({ owner, close }) {
  const [form, bind] = useForm({ name: '', expires: '', apps: '', permissions: '' });
  const send = (factor) => {
    const apps = splitNames(form.apps);
    const permissions = splitNames(form.permissions);
    const body = { name: form.name, ...factor };
    if (owner) body.user = owner.id;
    if (form.expires) body.expires = new Date(form.expires).toISOString();
    if (apps.length) body.apps = apps;
    if (permissions.length) body.permissions = permissions;
    return post(PATH, body);
  };
  return html`<${KeyForm} title="New API key" yes="Create" send=${send} close=${close}>
    <${Input} title="Name" required maxlength="100" autofocus ...${bind('name')} />
    <${Input} title="Ends" note="empty: never" type="datetime-local" ...${bind('expires')} />
    <${Input} title="Apps" note="empty: all" placeholder="crm" ...${bind('apps')} />
    <${Input}
      title="Permissions"
      note="empty: all of its owner"
      placeholder="crm:deals.read crm:jobs"
      ...${bind('permissions')}
    />
  <//>`;
}

function Replace({ apiKey, close }) {
  const [form, bind] = useForm({ hours: '0' });
  const send = (factor) => {
    const overlap = Math.round(Number(form.hours) * HOUR);
    return post(url`/api/v1/auth/keys/${apiKey.id}/rotate`, { overlap, ...factor });
  };
  const title = `Replace “${apiKey.name}”`;
  return html`<${KeyForm} title=${title} yes="Replace" send=${send} close=${close}>
    <${Input}
      title="Hours for which the former key is valid, too"
      type="number"
      min="0"
      max="168"
      step="any"
      required
      ...${bind('hours')}
    />
  <//>`;
}
