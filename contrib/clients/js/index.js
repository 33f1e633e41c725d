/**
 * A client of the Caudex REST API for browsers, Node.js and bun: no dependency, no build.
 *
 *     const caudex = new Caudex();
 *     const deals = caudex.app('crm').collection('deals');
 *     const open = await deals.query({ where: { stage: { $ne: 'Lost' } }, orderBy: 'value' });
 */
import { App } from './apps.js';
import { HostSession, KeySession, PasswordSession } from './sessions.js';
import { Transport } from './transport.js';

export { CaudexError } from './errors.js';
export { tagOf } from './records.js';

export class Caudex {
  /**
   * @param {{url?: string, key?: string, signIn?: 'host' | 'password',
   *   storage?: {get: () => string, set: (refreshToken: string) => void},
   *   fetch?: typeof fetch}} [options]
   *   `url` is the server's, by default that of the page. `key` is an API key; without one `signIn`
   *   says how users sign in: `host` for pages on an app's own host, `password` elsewhere.
   */
  constructor({ url = '', key, signIn, storage, fetch: fetchFunction } = {}) {
    this._transport = new Transport(url, fetchFunction);
    const usesHost = (signIn ?? (url === '' ? 'host' : 'password')) === 'host';
    this._users = usesHost
      ? new HostSession(this._transport)
      : new PasswordSession(this._transport, storage);
    this._transport.session = key === undefined ? this._users : new KeySession(key);
  }

  /** Return an app. @param {string} id */
  app(id) {
    return new App(this._transport, id);
  }

  /** Return the user who is signed in; null where no user is. */
  async me() {
    const token = await this._transport.session?.readToken();
    return token === '' ? null : this._transport.request('GET', '/api/v1/auth/me');
  }

  /**
   * Sign in; returns the user. On an app's host the page is left for the server's sign-in, which
   * leads back to it.
   * @param {{username: string, password: string, code?: string}} [credentials]
   */
  signIn(credentials) {
    if (this._users instanceof HostSession) return this._users.signIn();
    if (credentials === undefined) throw new TypeError('signIn needs a username and a password');
    return this._users.signIn(credentials);
  }

  /** End the session. */
  signOut() {
    return this._users.signOut();
  }

  /** Return the apps that the caller may see. */
  apps() {
    return this._transport.request('GET', '/api/v1/apps');
  }

  /**
   * Send any request of the REST API; returns the decoded body.
   * @param {string} method @param {string} path @param {import('./transport.js').RequestOptions} [options]
   */
  request(method, path, options) {
    return this._transport.request(method, path, options);
  }
}
