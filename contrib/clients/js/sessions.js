/** Where the token of a request comes from: a key, a login, or the sign-in of an app's host. */
import { CaudexError } from './errors.js';

/** Milliseconds before its end at which a token is renewed. */
const MARGIN = 20_000;

/**
 * @typedef {object} Session
 * @property {() => Promise<string>} readToken returns the token; empty where no user is signed in
 * @property {(refused: string) => Promise<boolean>} renew replaces a token that was refused; false
 *   where that is not possible
 */

/** An API key: it does not change. @implements {Session} */
export class KeySession {
  /** @param {string} key */
  constructor(key) {
    this._key = key;
  }

  async readToken() {
    return this._key;
  }

  async renew() {
    return false;
  }
}

/** A token with the moment at which it ends, and one renewal at a time. */
class RenewedToken {
  /** @param {() => Promise<{accessToken: string, expiresIn: number} | null>} fetchToken */
  constructor(fetchToken) {
    this._fetchToken = fetchToken;
    this._token = '';
    this._endsAt = 0;
    /** @type {Promise<boolean> | null} */
    this._renewal = null;
  }

  /** @param {{accessToken: string, expiresIn: number} | null} reply null ends the session */
  set(reply) {
    this._token = reply === null ? '' : reply.accessToken;
    this._endsAt = reply === null ? 0 : Date.now() + reply.expiresIn * 1000 - MARGIN;
  }

  get isSet() {
    return this._token !== '';
  }

  async read() {
    if (this._token !== '' && Date.now() >= this._endsAt) await this.renew(this._token);
    return this._token;
  }

  /** Fetch a new token unless another call has; return whether there is one. @param {string} refused */
  async renew(refused) {
    if (refused !== this._token) return this.isSet;
    this._renewal ??= this._fetchToken()
      .then((reply) => {
        this.set(reply);
        return reply !== null;
      })
      .finally(() => {
        this._renewal = null;
      });
    return this._renewal;
  }
}

/**
 * A login with a password. The refresh token is kept in `storage`, so that a reload goes on; the
 * default keeps it in memory.
 * @implements {Session}
 */
export class PasswordSession {
  /**
   * @param {import('./transport.js').Transport} transport
   * @param {{get: () => string, set: (refreshToken: string) => void}} [storage]
   */
  constructor(transport, storage = createMemoryStorage()) {
    this._transport = transport;
    this._storage = storage;
    this._token = new RenewedToken(() => this._refresh());
  }

  async readToken() {
    if (!this._token.isSet && this._storage.get() !== '') await this._token.renew('');
    return this._token.read();
  }

  /** @param {string} refused */
  renew(refused) {
    return this._token.renew(refused);
  }

  /**
   * Sign in; returns the user. Raises CaudexError, whose `body.secondFactor` asks for a `code`.
   * @param {{username: string, password: string, code?: string}} credentials
   */
  async signIn(credentials) {
    const reply = await this._transport.request('POST', '/api/v1/auth/login', {
      body: credentials,
      anonymous: true,
    });
    this._token.set(reply);
    this._storage.set(reply.refreshToken);
    return reply.user;
  }

  /** End the session at the server and here. */
  async signOut() {
    const refreshToken = this._storage.get();
    this._token.set(null);
    this._storage.set('');
    if (refreshToken === '') return;
    await this._transport.request('POST', '/api/v1/auth/logout', {
      body: { refreshToken },
      anonymous: true,
    });
  }

  async _refresh() {
    const refreshToken = this._storage.get();
    if (refreshToken === '') return null;
    try {
      const reply = await this._transport.request('POST', '/api/v1/auth/refresh', {
        body: { refreshToken },
        anonymous: true,
      });
      if (reply.refreshToken !== undefined) this._storage.set(reply.refreshToken);
      return reply;
    } catch (error) {
      if (!(error instanceof CaudexError) || error.status !== 401) throw error;
      this._storage.set('');
      return null;
    }
  }
}

/**
 * The sign-in of the server, for pages on an app's own host: see `signIn` of HostSession.
 * @implements {Session}
 */
export class HostSession {
  /** @param {import('./transport.js').Transport} transport */
  constructor(transport) {
    this._transport = transport;
    this._token = new RenewedToken(() => this._fetchToken());
  }

  async readToken() {
    if (!this._token.isSet) await this._token.renew('');
    return this._token.read();
  }

  /** @param {string} refused */
  renew(refused) {
    return this._token.renew(refused);
  }

  /** Leave for the server's sign-in page, which leads back to this one. */
  signIn() {
    const here = location.pathname + location.search + location.hash;
    location.assign(`/_auth/sign-in?return_to=${encodeURIComponent(here)}`);
    return new Promise(() => {}); // the page ends here
  }

  /** End the session of this app. */
  async signOut() {
    this._token.set(null);
    await this._transport.request('POST', '/_auth/sign-out', {
      anonymous: true,
    });
  }

  async _fetchToken() {
    try {
      return await this._transport.request('GET', '/_auth/session', {
        anonymous: true,
      });
    } catch (error) {
      if (error instanceof CaudexError && error.status === 401) return null;
      throw error;
    }
  }
}

function createMemoryStorage() {
  let refreshToken = '';
  return {
    get: () => refreshToken,
    /** @param {string} text */
    set: (text) => {
      refreshToken = text;
    },
  };
}
