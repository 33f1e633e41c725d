/** What the console knows of the server: apps, entities, users, settings, the caller's rights. */
import { computed, signal } from './kit.js';
import { get, patch, url, user } from './api.js';
import { fail, setTheme } from './ui.js';

/** Apps that the caller may use: `{id, name, version, entities: [names], roles, admin, permissions}`. */
export const apps = signal(null);
/** True for a core admin. */
export const admin = signal(false);
/** Pages and parts of plugins. */
export const pages = signal([]);
/** Names of the plugins that are on. */
export const features = signal(new Set());
/** What the user has set: theme, columns of tables. */
export const settings = signal({});

/** Descriptions of apps that were asked for, by their ids. */
const described = new Map();
/** @type {Promise<any[]>|null} */
let people = null;

export async function loadAll() {
  const [savedSettings, core, list, pluginPages, featureList] = await Promise.all([
    get('/api/v1/console/settings'),
    get('/api/v1/apps/core/permissions').catch(() => ({ permissions: [] })),
    get('/api/v1/apps').catch(() => []),
    get('/api/v1/console/pages').catch(() => []),
    get('/api/v1/console/features'),
  ]);
  features.value = new Set(featureList.plugins);
  settings.value = savedSettings;
  if (savedSettings.theme) setTheme(savedSettings.theme);
  admin.value = core.permissions.includes('*');
  pages.value = pluginPages;
  await showApps(list);
}

export async function loadApps() {
  described.clear();
  await showApps(await get('/api/v1/apps'));
}

async function showApps(list) {
  const listed = await Promise.all(list.map(addRights));
  apps.value = listed.filter((app) => app.roles.length);
}

/** An app with the caller's roles and permissions on it. */
async function addRights(app) {
  const path = url`/api/v1/apps/${app.id}/permissions`;
  const rights = await get(path).catch(() => ({ roles: [], permissions: [] }));
  return {
    ...app,
    roles: rights.roles,
    admin: rights.roles.includes('admin'),
    permissions: new Set(rights.permissions),
  };
}

export const findApp = (id) => apps.value?.find((app) => app.id === id);

/** Whether the caller may do something with an entity, on all records or the own ones. */
export function may(appId, entity, action) {
  const permissions = findApp(appId)?.permissions;
  if (!permissions) return false;
  const key = `${entity}.${action}`;
  return permissions.has(key) || permissions.has(`${key}.own`);
}

/** Whether the caller holds a permission that every app has, as `core:logs.read`. */
export const holds = (app, key) => admin.value || app.admin || app.permissions.has(key);

/** Whether the caller may read the trail of an app. */
export function mayReadTrail(appId) {
  const isAdmin = admin.value || findApp(appId)?.admin;
  return features.value.has('audit') && isAdmin;
}

/** Where to see what a request caused: its page, or its rows of the trail. */
export function findTrace(appId, id) {
  if (features.value.has('trace')) return { to: ['requests', id] };
  return { to: ['audit'], query: { app: appId, request: id } };
}

/** Names of the tables of an app that the caller may read. */
export const listReadable = (app) => app.entities.filter((name) => may(app.id, name, 'read'));

/** The address of an app's first table; the app itself where it has none that can be read. */
export function findFirstPage(appId) {
  const app = findApp(appId);
  const [table] = app ? listReadable(app) : [];
  return table ? ['data', appId, table] : ['apps', appId];
}

export const isAppAdmin = computed(() => (apps.value ?? []).some((app) => app.admin));

/** Parts of plugins for a place, as `pagesFor('field', 'crm', 'deals', 'stage')`. */
export function findPages(slot, ...names) {
  const fits = (pattern) => {
    const parts = pattern.split('.');
    return parts.every((part, index) => part === '*' || part === names[index]);
  };
  const isForPlace = (page) => !page.on.length || page.on.some(fits);
  return pages.value.filter((page) => page.slot === slot && isForPlace(page));
}

/** An entity with the fields that the caller may read; `locked` are those that it may not write. */
function narrow(appId, entity) {
  const permissions = findApp(appId)?.permissions ?? new Set();
  const isAllowed = (field, action) => {
    const isGuarded = field.access?.[action];
    return !isGuarded || permissions.has(`${entity.name}.${field.name}.${action}`);
  };
  const fields = entity.fields
    .filter((field) => isAllowed(field, 'read'))
    .map((field) => ({
      ...field,
      locked: field.generated || !isAllowed(field, 'write'),
      page: findPages('field', appId, entity.name, field.name)[0],
    }));
  return { ...entity, fields };
}

/** Describe an app: `{entities: [{name, fields}]}`; asked once. */
export function describe(appId) {
  if (!described.has(appId)) {
    const description = loadDescription(appId);
    described.set(appId, description);
    description.catch(() => described.delete(appId));
  }
  return described.get(appId);
}

async function loadDescription(appId) {
  const app = await get(url`/api/v1/apps/${appId}`);
  return { ...app, entities: app.entities.map((entity) => narrow(appId, entity)) };
}

export async function findEntity(appId, name) {
  const app = await describe(appId);
  return app.entities.find((entity) => entity.name === name);
}

/** Every account, for names beside ids; asked once. */
export function loadUsers() {
  people ??= get('/api/v1/users').catch(() => {
    forgetUsers();
    return [];
  });
  return people;
}
export const forgetUsers = () => {
  people = null;
};

/** How an account is called. */
export const nameAccount = (account) => account.display_name || account.username;
/** Names of accounts by their ids. */
export const nameAccounts = (accounts) =>
  Object.fromEntries(accounts.map((account) => [account.id, nameAccount(account)]));

/** Values of settings that are to be sent, by their keys: the newest of each. */
let unsent = {};
let isSending = false;

/** Keep a setting of the user in the database; null removes it. */
export function saveSetting(key, value) {
  const changed = { ...settings.value, [key]: value };
  if (value === null) delete changed[key];
  settings.value = changed;
  unsent[key] = value;
  sendSettings();
}

/** Send one request after the other, so that the server has the newest values in the end. */
async function sendSettings() {
  if (isSending) return;
  isSending = true;
  while (user.value && Object.keys(unsent).length) {
    const changes = unsent;
    unsent = {};
    await patch('/api/v1/console/settings', changes).catch(fail);
  }
  unsent = {};
  isSending = false;
}

/** What a field is called. */
export const nameField = (field) => field.label ?? toWords(field.name);

/** "first_name" -> "First name". */
export const toWords = (name) => {
  const text = name.replace(/_id$/, '').replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
};
