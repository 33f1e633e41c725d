/** API keys: of the caller, and of a service account for core admins. */
import { html, useState } from '../../core/kit.js';
import { get, post, remove, url } from '../../core/api.js';
import {
  Ago,
  Empty,
  ErrorBox,
  Input,
  Loaded,
  confirm,
  copy,
  fail,
  icon,
  openDialog,
  toast,
  useForm,
  useLoad,
  when,
} from '../../core/ui.js';

const PATH = '/api/v1/auth/keys';
const words = (text) => text.split(/[\s,]+/).filter(Boolean);
const limits = (key) => [...(key.apps ?? []), ...(key.permissions ?? [])];

/** The keys of `owner`, a service account; without one the caller's own. */
export function Keys({ owner = null }) {
  const list = useLoad(() => get(PATH, owner && { user: owner.id }), [owner?.id]);
  const show = async (content, label) => {
    if (await openDialog(content, { label })) list.reload();
  };
  const add = () => show((props) => html`<${NewKey} owner=${owner} ...${props} />`, 'New API key');
  const rotate = (key) =>
    show((props) => html`<${Rotate} of=${key} ...${props} />`, 'Replace an API key');
  const revoke = async (key) => {
    const text = 'Programs that send it are refused at once, on every server.';
    if (!(await confirm(`Revoke the key “${key.name}”?`, text, { yes: 'Revoke' }))) return;
    try {
      await remove(url`/api/v1/auth/keys/${key.id}`);
      toast('API key revoked.');
      list.reload();
    } catch (error) {
      fail(error);
    }
  };
  return html`<section>
    <div class="head">
      <h2>API keys</h2>
      <button onClick=${add}>${icon('plus')}New key</button>
    </div>
    <${Loaded} of=${list}>
      ${(all) =>
        all.length
          ? html`<div class="scrollx">
              <table class="list">
                <thead>
                  <tr>
                    <th>Name</th><th>Key</th><th>Limits</th><th>Ends</th><th>Last used</th><th />
                  </tr>
                </thead>
                <tbody>
                  ${all.map(
                    (key) => html`<tr key=${key.id}>
                      <td><b>${key.name}</b></td>
                      <td class="nowrap"><code>${key.prefix}…</code></td>
                      <td>
                        ${
                          limits(key).length
                            ? limits(key).map((name) => html`<code>${name}</code> `)
                            : html`<span class="dim">none</span>`
                        }
                      </td>
                      <td class="nowrap">${key.expires ? when(key.expires) : 'never'}</td>
                      <td class="nowrap" title=${key.last_address ?? ''}>
                        ${key.last_used_at ? html`<${Ago} at=${key.last_used_at} />` : 'never'}
                      </td>
                      <td class="right nowrap">
                        <button class="small" onClick=${() => rotate(key)}>Replace</button>
                        <button class="small quiet" onClick=${() => revoke(key)}>Revoke</button>
                      </td>
                    </tr>`,
                  )}
                </tbody>
              </table>
            </div>`
          : html`<${Empty} title="No API keys" glyph="key">
              Scripts and spreadsheets send one in place of a password.
            <//>`}
    <//>
  </section>`;
}

/** A form that ends in a key, which is shown once. */
function Form({ title, yes, send, close, children }) {
  const [made, setMade] = useState(null);
  const [factor, setFactor] = useState(false);
  const [code, setCode] = useState('');
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try {
      setMade(await send(code ? { code } : {}));
      setError(null);
    } catch (problem) {
      setFactor((known) => known || Boolean(problem.body?.secondFactor));
      setError(problem);
    }
  };
  if (made)
    return html`<div class="stack">
      <h2>${made.name}</h2>
      <p>Copy the key now: it is not shown again.</p>
      <input readonly aria-label="API key" value=${made.key} onFocus=${(e) => e.target.select()} />
      <div class="actions">
        <button onClick=${() => copy(made.key, 'API key copied')}>Copy</button>
        <button class="primary" onClick=${() => close(true)}>Done</button>
      </div>
    </div>`;
  return html`<form class="stack" onSubmit=${submit} autocomplete="off">
    <h2>${title}</h2>
    ${children}
    ${
      factor &&
      html`<${Input}
        title="Code of the second factor"
        required
        inputmode="numeric"
        autocomplete="one-time-code"
        value=${code}
        onInput=${(e) => setCode(e.target.value)}
      />`
    }
    <${ErrorBox} error=${error} />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">${yes}</button>
    </div>
  </form>`;
}

function NewKey({ owner, close }) {
  const [form, bind] = useForm({ name: '', expires: '', apps: '', permissions: '' });
  const send = (more) => {
    const body = { name: form.name, ...more };
    if (owner) body.user = owner.id;
    if (form.expires) body.expires = new Date(form.expires).toISOString();
    if (words(form.apps).length) body.apps = words(form.apps);
    if (words(form.permissions).length) body.permissions = words(form.permissions);
    return post(PATH, body);
  };
  return html`<${Form} title="New API key" yes="Create" send=${send} close=${close}>
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

function Rotate({ of, close }) {
  const [form, bind] = useForm({ hours: '0' });
  const send = (more) =>
    post(url`/api/v1/auth/keys/${of.id}/rotate`, {
      overlap: Math.round(Number(form.hours) * 3600),
      ...more,
    });
  return html`<${Form} title=${`Replace “${of.name}”`} yes="Replace" send=${send} close=${close}>
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
