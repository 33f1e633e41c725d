/** Roles of an app: what each may do with each table, and who holds it. */
import { html, useEffect, useState } from '../../core/kit.js';
import { get, patch, post, remove, url } from '../../core/api.js';
import { A, go, setQuery } from '../../core/router.js';
import { admin, describe, findApp, users, words } from '../../core/store.js';
import { ErrorBox, Head, Loaded, confirm, fail, icon, openDialog, toast, useLoad } from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';

const ACTIONS = ['create', 'read', 'update', 'delete'];

export default function Roles({ parts: [appId], query }) {
  const extra = admin.value ? [['core', 'This server']] : [];
  return html`<${WithApp} screen="roles" appId=${appId} extra=${extra}>${(id, picker) => html`<${Screen} key=${id} appId=${id} picker=${picker} chosen=${query.role} />`}<//>`;
}

function Screen({ appId, picker, chosen }) {
  const editable = appId === 'core' ? admin.value : findApp(appId)?.admin;
  const all = useLoad(async () => {
    const base = url`/api/v1/apps/${appId}`;
    const [roles, keys, app, held, people] = await Promise.all([
      get(`${base}/roles`), get(`${base}/permissions/available`), appId === 'core' ? { entities: [] } : describe(appId),
      editable ? get(`${base}/roles/assignments`) : [], users(),
    ]);
    return { roles, keys, app, held, names: Object.fromEntries(people.map((u) => [u.id, u.display_name || u.username])) };
  }, [appId]);
  const add = async () => {
    const name = await openDialog(({ close }) => html`<${NewRole} appId=${appId} close=${close} />`, { label: 'New role' });
    if (name) { setQuery({ role: name }); all.reload(); }
  };
  return html`<${Head} title="Roles" sub="A role holds permissions on one app. Users hold roles.">${picker}<${A} class="button" to=${['explain']} query=${{ app: appId }}>Explain<//>
      ${editable && html`<button class="primary" onClick=${add}>${icon('plus')}New role</button>`}<//>
    <${Loaded} of=${all}>${({ roles, keys, app, held, names }) => {
      const role = roles.find((r) => r.name === chosen) ?? roles[0];
      return html`<nav class="tabs" aria-label="Roles">${roles.map((r) => html`<${A} key=${r.name} to=${['roles', appId]} query=${{ role: r.name }} aria-current=${r === role ? 'page' : undefined}>${r.name} <small> ${held.filter((h) => h.role === r.name).length || ''}</small><//>`)}</nav>
        ${role && html`<div class="split"><${Matrix} key=${role.name} appId=${appId} role=${role} roles=${roles} keys=${keys} entities=${app.entities} editable=${editable && role.name !== 'admin'} reload=${all.reload} />
        <aside><${Holders} appId=${appId} role=${role} held=${held.filter((h) => h.role === role.name)} names=${names} editable=${editable} reload=${all.reload} /></aside></div>`}`;
    }}<//>`;
}

function NewRole({ appId, close }) {
  const [name, setName] = useState('');
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    try { await post(url`/api/v1/apps/${appId}/roles`, { name }); close(name); } catch (problem) { setError(problem); }
  };
  return html`<form class="stack" onSubmit=${submit}><h2>New role</h2><label class="field"><span>Name</span><input autofocus required value=${name} onInput=${(e) => setName(e.target.value)} /></label><${ErrorBox} error=${error} />
    <div class="actions"><button type="button" onClick=${() => close()}>Cancel</button><button class="primary">Create</button></div></form>`;
}

/** What the roles that a role inherits from hold. */
function inherited(role, roles) {
  const [seen, waiting, found] = [new Set([role.name]), [...role.inherits], new Set()];
  while (waiting.length) {
    const name = waiting.pop();
    const parent = roles.find((r) => r.name === name);
    if (!parent || seen.has(name)) continue;
    seen.add(name);
    parent.permissions.forEach((p) => found.add(p));
    waiting.push(...parent.inherits);
  }
  return found;
}

/** 'all', 'own', or '' for an action of a table. */
const level = (held, entity, action) => (held.has('*') || held.has(`${entity}.*`) || held.has(`${entity}.${action}`) ? 'all' : held.has(`${entity}.${action}.own`) ? 'own' : '');

function Matrix({ appId, role, roles, keys, entities, editable, reload }) {
  const [held, setHeld] = useState(new Set(role.permissions));
  const [parents, setParents] = useState(role.inherits);
  const [text, setText] = useState(role.description ?? '');
  const [error, setError] = useState(null);
  useEffect(() => { setHeld(new Set(role.permissions)); setParents(role.inherits); }, [role]);
  const from = inherited({ ...role, inherits: parents }, roles);
  const generated = new Set(entities.flatMap((e) => ACTIONS.map((a) => `${e.name}.${a}`)));
  const others = keys.filter((k) => !generated.has(k.key));
  const put = (entity, action, value) => {
    const next = new Set(held);
    if (next.delete('*')) keys.forEach((k) => next.add(k.key));
    if (next.delete(`${entity}.*`)) ACTIONS.forEach((a) => next.add(`${entity}.${a}`));
    next.delete(`${entity}.${action}`); next.delete(`${entity}.${action}.own`);
    if (value) next.add(`${entity}.${action}${value === 'own' ? '.own' : ''}`);
    setHeld(next);
  };
  const toggle = (key) => { const next = new Set(held); if (!next.delete(key)) next.add(key); setHeld(next); };
  const changed = [...held].sort().join() !== [...role.permissions].sort().join() || parents.join() !== role.inherits.join() || text !== (role.description ?? '');
  const save = async (e) => {
    e.preventDefault();
    try {
      const body = role.name === 'admin' ? { description: text } : { description: text, permissions: [...held], inherits: parents };
      toast((await patch(url`/api/v1/apps/${appId}/roles/${role.name}`, body)).message);
      reload();
    } catch (problem) { setError(problem); }
  };
  const drop = async () => {
    if (!(await confirm(`Delete the role ${role.name}?`, 'Its holders lose what it allows, at once.', { yes: 'Delete' }))) return;
    try { await remove(url`/api/v1/apps/${appId}/roles/${role.name}`); go(['roles', appId]); reload(); } catch (problem) { fail(problem); }
  };
  return html`<form class="stack" onSubmit=${save}><label class="field"><span>Description</span><input value=${text} disabled=${!editable} onInput=${(e) => setText(e.target.value)} /></label>
    ${role.name === 'admin' && html`<p class="dim">The admin may do everything. This role cannot be changed.</p>`}
    ${entities.length > 0 && html`<div class="scrollx"><table class="list matrix"><thead><tr><th>Table</th>${ACTIONS.map((a) => html`<th key=${a}>${a}</th>`)}</tr></thead><tbody>${entities.map((e) => html`<tr key=${e.name}><th scope="row">${words(e.name)}</th>${ACTIONS.map((a) => {
      const [mine, given] = [level(held, e.name, a), level(from, e.name, a)];
      return html`<td key=${a}><select class=${mine || given} aria-label=${`${e.name} ${a}`} disabled=${!editable} title=${given ? `${given} by inheritance` : ''} onChange=${(ev) => put(e.name, a, ev.target.value)}>
        ${[['', given ? `(${given})` : '–'], ...(a === 'create' ? [] : [['own', 'own']]), ['all', 'all']].map(([v, said]) => html`<option key=${v} value=${v} selected=${mine === v}>${said}</option>`)}</select></td>`;
    })}</tr>`)}</tbody></table></div>`}
    ${others.length > 0 && html`<fieldset class="group"><legend>Other permissions</legend>${others.map((k) => html`<label class="field line" key=${k.key}><input type="checkbox" disabled=${!editable} checked=${held.has(k.key) || held.has('*') || from.has(k.key)} onChange=${() => toggle(k.key)} /><code>${k.key}</code><span class="dim">${k.description}</span></label>`)}</fieldset>`}
    ${roles.some((r) => r !== role && r.name !== 'admin') && role.name !== 'admin' && html`<fieldset class="group"><legend>Inherits from</legend><div class="row">${roles.filter((r) => r !== role && r.name !== 'admin').map((r) => html`<label class="field line" key=${r.name}><input type="checkbox" disabled=${!editable} checked=${parents.includes(r.name)} onChange=${(e) => setParents(e.target.checked ? [...parents, r.name] : parents.filter((p) => p !== r.name))} />${r.name}</label>`)}</div></fieldset>`}
    <${ErrorBox} error=${error} />${editable && html`<div class="row"><button class="primary" disabled=${!changed}>Save</button><span class="grow" /><button type="button" class="quiet" onClick=${drop}>${icon('trash')}Delete the role</button></div>`}</form>`;
}

function Holders({ appId, role, held, names, editable, reload }) {
  const act = async (verb, userId) => {
    try { toast((await post(url`/api/v1/apps/${appId}/roles/${verb}`, { userId, role: role.name })).message); reload(); } catch (error) { fail(error); }
  };
  if (!editable) return null;
  const rest = Object.entries(names).filter(([id]) => !held.some((h) => h.userId === id));
  return html`<section class="card"><h2>Held by</h2><ul class="plain">${held.map((h) => html`<li class="row" key=${h.userId}><${A} class="grow cut" to=${['users', h.userId]}>${names[h.userId] ?? h.userId}<//>
      <button class="quiet icon small" aria-label=${`Take it from ${names[h.userId]}`} onClick=${() => act('revoke', h.userId)}>${icon('x')}</button></li>`)}</ul>${!held.length && html`<p class="dim">No one yet.</p>`}
    <p><select aria-label="Give this role to" onChange=${(e) => { if (e.target.value) act('assign', e.target.value); e.target.value = ''; }}><option value="">Give it to…</option>${rest.map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}</select></p></section>`;
}
