/** How requests are sent: the token, repeats, errors, and the position of one's own writes. */
import { CaudexError, errorOfReply } from './errors.js';

/** A request is sent so many times at most. */
const MAX_ATTEMPTS = 4;
/** Milliseconds before the second attempt; they double. */
const FIRST_PAUSE = 250;
/** Seconds that a client waits when the server asks it to; it fails where that is longer. */
const LONGEST_WAIT = 30;

/**
 * @typedef {object} RequestOptions
 * @property {any} [body] a value that is sent as JSON, or text, bytes, a Blob or FormData
 * @property {Record<string, any>} [query]
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 * @property {boolean} [idempotent] the server does it once, however often it is sent
 * @property {boolean} [readsOnly] it changes nothing, whatever its method
 * @property {boolean} [anonymous] send no token
 */

export class Transport {
  /**
   * @param {string} url of the server; empty for the one that the page came from
   * @param {typeof fetch} [fetchFunction]
   */
  constructor(url, fetchFunction) {
    this._url = url.replace(/\/$/, '');
    this._fetch = fetchFunction ?? globalThis.fetch.bind(globalThis);
    /** @type {import('./sessions.js').Session | null} */
    this.session = null;
    /** What the server has written of this client; a replica waits until it has that too. */
    this._position = '';
  }

  /** Return the address of a path. @param {string} path @param {Record<string, any>} [query] */
  address(path, query) {
    return this._url + path + queryText(query);
  }

  /**
   * Send a request and return the decoded body: JSON, or null for an empty one.
   * @param {string} method @param {string} path @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  async request(method, path, options) {
    const response = await this.open(method, path, options);
    const text = await response.text();
    return text === '' ? null : JSON.parse(text);
  }

  /**
   * Send a request and return the reply, whose body is not read yet.
   *
   * A request that had no effect is repeated: one that the server refused with `Retry-After`, and
   * one whose connection broke if it only reads or is idempotent.
   * @param {string} method @param {string} path @param {RequestOptions} [options]
   */
  async open(method, path, options = {}) {
    const attempt = { ...options, headers: { ...options.headers } };
    if (options.idempotent) attempt.headers['idempotency-key'] ??= crypto.randomUUID();
    for (let count = 1; ; count += 1) {
      try {
        return await this._openWithToken(method, path, attempt);
      } catch (error) {
        if (count === MAX_ATTEMPTS || !(error instanceof CaudexError)) throw error;
        const seconds = secondsBeforeRepeat(error, method, attempt, count);
        if (seconds === null) throw error;
        await sleep(seconds * 1000, options.signal);
      }
    }
  }

  /**
   * Send a request; renew the token once where the server refuses it.
   * @param {string} method @param {string} path @param {RequestOptions} options
   */
  async _openWithToken(method, path, options) {
    const session = options.anonymous ? null : this.session;
    const token = session === null ? '' : await session.readToken();
    try {
      return await this._send(method, path, options, token);
    } catch (error) {
      const wasRefused = error instanceof CaudexError && error.status === 401;
      if (session === null || !wasRefused || !(await session.renew(token))) throw error;
      return this._send(method, path, options, await session.readToken());
    }
  }

  /**
   * @param {string} method @param {string} path @param {RequestOptions} options
   * @param {string} token
   */
  async _send(method, path, options, token) {
    const headers = new Headers(options.headers);
    if (token !== '') headers.set('authorization', `Bearer ${token}`);
    const readsOnly = isRead(method) || options.readsOnly === true;
    if (this._position !== '' && readsOnly) headers.set('caudex-position', this._position);
    const body = encodeBody(options.body, headers);
    const address = this.address(path, options.query);
    let response;
    try {
      response = await this._fetch(address, {
        method,
        headers,
        body,
        signal: options.signal,
      });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new CaudexError('the server does not answer');
    }
    if (!response.ok) throw errorOfReply(response, await response.text());
    this._position = response.headers.get('caudex-position') ?? this._position;
    return response;
  }
}

/** @param {string} method */
function isRead(method) {
  return method === 'GET' || method === 'HEAD';
}

/**
 * Return the seconds after which a failed request may be sent again; null where it may not.
 * @param {CaudexError} error @param {string} method @param {RequestOptions} options
 * @param {number} count of the attempts so far
 */
function secondsBeforeRepeat(error, method, options, count) {
  const isOverloaded = error.status === 429 || error.status === 503;
  if (isOverloaded && error.retryAfter !== null) {
    return error.retryAfter <= LONGEST_WAIT ? error.retryAfter : null;
  }
  // Without a reply, or with a 503 that names no time, a write may have been made.
  const isUnknown = error.status === 0 || error.status === 503;
  const isRepeatable = isRead(method) || options.readsOnly === true || options.idempotent === true;
  if (!isUnknown || !isRepeatable) return null;
  return (FIRST_PAUSE / 1000) * 2 ** (count - 1);
}

/** Return what is sent of a body, and note its type. @param {any} body @param {Headers} headers */
function encodeBody(body, headers) {
  if (body === undefined) return undefined;
  const isSentAsIs =
    typeof body === 'string' ||
    body instanceof Blob ||
    body instanceof FormData ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body);
  if (isSentAsIs) return /** @type {BodyInit} */ (body);
  headers.set('content-type', 'application/json');
  return JSON.stringify(body);
}

/** Return the query of an address; a value that is an object is sent as JSON. @param {any} query */
export function queryText(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined || value === null) continue;
    parameters.set(name, typeof value === 'object' ? JSON.stringify(value) : String(value));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** Build a path; its values are quoted. @param {TemplateStringsArray} texts @param {any[]} values */
export function path(texts, ...values) {
  let result = texts[0];
  values.forEach((value, index) => {
    result += encodeURIComponent(String(value)) + texts[index + 1];
  });
  return result;
}

/** Wait; a signal ends it with its reason. @param {number} milliseconds @param {AbortSignal} [signal] */
export function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve(undefined);
    }, milliseconds);
    function stop() {
      clearTimeout(timer);
      reject(signal?.reason);
    }
    signal?.addEventListener('abort', stop, { once: true });
  });
}
