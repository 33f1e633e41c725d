/** Who uses the app, and what this user may do. */
import { Caudex } from '../caudex/index.js';
import { button, element } from './elements.js';
import { personName } from './texts.js';

export const caudex = new Caudex();

/**
 * Find out who is signed in, and show the frame of the app; without a session show the sign-in.
 *
 * Returns null where there is nothing to show, else a session:
 * - `app`: the records, jobs and files of the app
 * - `me`: the user
 * - `may('deals.update')`: whether the user has a permission, at least for own records
 * - `readUsers()`: the people who have a role on the app
 */
export async function openSession(appId, navigation) {
  const app = caudex.app(appId);
  let me;
  try {
    me = await caudex.me();
  } catch (error) {
    showGate(
      'The server does not answer',
      error.message,
      button('Try again', () => location.reload()),
    );
    return null;
  }
  if (me === null) {
    const signIn = button('Sign in', () => caudex.signIn(), { class: 'primary' });
    showGate('Welcome', 'Sign in with your account to go on.', signIn);
    return null;
  }
  const { roles, permissions } = await app.permissions();
  showUser(me);
  if (roles.length === 0 && permissions.length === 0) {
    const words = 'Your account has no role in this app yet. An admin of the app can give you one.';
    showGate(
      `Hello, ${personName(me)}`,
      words,
      button('Try again', () => location.reload()),
    );
    return null;
  }
  const may = (permission) => isHeld(permissions, permission);
  showNavigation(navigation.filter((link) => link.needs === undefined || may(link.needs)));
  const readUsers = () => caudex.request('GET', '/api/v1/users');
  return { app, me, may, readUsers };
}

/** Whether a permission is held: by its name, for own records, or by a wildcard. */
function isHeld(permissions, permission) {
  const [entity] = permission.split('.');
  const names = [permission, `${permission}.own`, `${entity}.*`, '*'];
  return names.some((name) => permissions.includes(name));
}

function showGate(title, words, action) {
  const gate = element(
    'div',
    { class: 'empty gate' },
    element('h1', {}, title),
    element('p', {}, words),
    action,
  );
  document.querySelector('main').replaceChildren(gate);
}

function showNavigation(links) {
  const nodes = links.map((link) => element('a', { href: `#${link.path}` }, link.label));
  document.querySelector('nav').replaceChildren(...nodes);
}

function showUser(me) {
  const signOut = button('Sign out', async () => {
    await caudex.signOut();
    location.assign(location.pathname);
  });
  const name = element('span', { class: 'user-name' }, personName(me));
  document.querySelector('#user').replaceChildren(name, signOut);
}
