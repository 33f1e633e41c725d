/** What the console knows of the server: apps, entities, users, settings, the caller's rights. */
import { computed, signal } from './kit.js';
import { get, patch, url, user } from './api.js';
import { fail, setTheme } from './ui.js';

/** Apps that the caller may use: `{id, name, version, entities: [names], roles, may}`. */
export const apps = signal(null);
/** True for a core admin. */
export const admin = signal(false);
export const pages = signal([]);
/** Names of the plugins that are on. */
export const features = signal(new Set());
export const settings = signal({});

const described = new Map();
let people = null;

export async function loadAll() {
  const [kept, core, list, shown, on] = await Promise.all([
    get('/api/v1/console/settings'),
    get('/api/v1/apps/core/permissions').catch(() => ({ permissions: [] })),
    get('/api/v1/apps').catch(() => []),
    get('/api/v1/console/pages').catch(() => []),
    get('/api/v1/console/features'),
  ]);
  features.value = new Set(on.plugins);
  settings.value = kept;
  if (kept.theme) setTheme(kept.theme);
  admin.value = core.permissions.includes('*');
  pages.value = shown;
  await showApps(list);
}

export async function loadApps() {
  described.clear();
  await showApps(await get('/api/v1/apps'));
}

async function showApps(list) {
  const rights = await Promise.all(
    list.map((app) =>
      get(url`/api/v1/apps/${app.id}/permissions`).catch(() => ({ roles: [], permissions: [] })),
    ),
  );
  apps.value = list
    .map((app, i) => ({
      ...app,
      roles: rights[i].roles,
      admin: rights[i].roles.includes('admin'),
      permissions: new Set(rights[i].permissions),
    }))
    .filter((app) => app.roles.length);
}

export const findApp = (id) => apps.value?.find((app) => app.id === id);

/** Whether the caller may do something with an entity, on all records or the own ones. */
export function may(appId, entity, action) {
  const held = findApp(appId)?.permissions;
  return Boolean(held && (held.has(`${entity}.${action}`) || held.has(`${entity}.${action}.own`)));
}

/** Whether the caller holds a permission that every app has, as `core:logs.read`. */
export const holds = (app, key) => admin.value || app.admin || app.permissions.has(key);

/** Whether the caller may read the trail of an app. */
export const readsTrail = (appId) =>
  features.value.has('audit') && (admin.value || findApp(appId)?.admin);

export const readable = (app) => app.entities.filter((name) => may(app.id, name, 'read'));
export const isAppAdmin = computed(() => (apps.value ?? []).some((app) => app.admin));

/** Parts of plugins for a place, as `pagesFor('field', 'crm', 'deals', 'stage')`. */
export function pagesFor(slot, ...names) {
  const fits = (on) => on.split('.').every((part, i) => part === '*' || part === names[i]);
  return pages.value.filter((p) => p.slot === slot && (!p.on.length || p.on.some(fits)));
}

/** An entity with the fields that the caller may read; `locked` are those that it may not write. */
function forCaller(appId, entity) {
  const held = findApp(appId)?.permissions ?? new Set();
  const allowed = (f, action) =>
    !f.access?.[action] || held.has(`${entity.name}.${f.name}.${action}`);
  const fields = entity.fields
    .filter((f) => allowed(f, 'read'))
    .map((f) => ({
      ...f,
      locked: f.generated || !allowed(f, 'write'),
      page: pagesFor('field', appId, entity.name, f.name)[0],
    }));
  return { ...entity, fields };
}

/** Describe an app: `{entities: [{name, fields}]}`; asked once. */
export function describe(appId) {
  if (!described.has(appId)) {
    const asked = get(url`/api/v1/apps/${appId}`).then((app) => ({
      ...app,
      entities: app.entities.map((entity) => forCaller(appId, entity)),
    }));
    described.set(appId, asked);
    asked.catch(() => described.delete(appId));
  }
  return described.get(appId);
}

export async function entityOf(appId, name) {
  const app = await describe(appId);
  return app.entities.find((entity) => entity.name === name);
}

/** Every account, for names beside ids; asked once. */
export function users() {
  people ??= get('/api/v1/users').catch(() => {
    people = null;
    return [];
  });
  return people;
}
export const forgetUsers = () => {
  people = null;
};

/** Keep a setting of the user in the database; null removes it. */
export function keep(key, value) {
  const next = { ...settings.value };
  if (value === null) delete next[key];
  else next[key] = value;
  settings.value = next;
  if (user.value) patch('/api/v1/console/settings', { [key]: value }).catch(fail);
}

/** "first_name" -> "First name". */
export const words = (name) => {
  const text = name.replace(/_id$/, '').replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
};
