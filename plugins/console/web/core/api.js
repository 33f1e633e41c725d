/**
 * The REST API with the caller's rights. The access token is in memory only; the refresh token is
 * in a cookie that no script can read, encrypted with a key that other ports of this host cannot
 * read: it is in the storage of this origin.
 */
import { signal } from './kit.js';
import { parse, stringify } from './json.js';

/** The path that a proxy serves this server under; empty without one. */
const root = new URL('../..', import.meta.url).pathname.slice(0, -1);
/** Return a path of this server as the browser reaches it. @param {string} path */
export const resolvePath = (path) => root + path;

const SESSION = '/api/v1/console/session';
const ACCOUNT = '/api/v1/auth/me';
/** Several servers under one origin have a key each. */
const KEY = `caudex.key${root}`;
/** Milliseconds between two looks at a server that went away. */
const LOOK_AGAIN = 2000;

/** @type {string|null} */
let token = null;
/** When the token is renewed, in milliseconds; some seconds before it ends. */
let expires = 0;
/** @type {Promise<boolean>|null} */
let renewing = null;
/** What goes on once the user has signed in again. @type {(() => void)[]} */
let waiting = [];

/** The account; null when no user is signed in. */
export const user = signal(null);
/** True while the form to sign in again covers a page whose session has ended. */
export const ended = signal(false);
/** True while the server does not answer. */
export const away = signal(false);

export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {string} requestId @param {any} body */
  constructor(status, message, requestId = '', body = null) {
    super(message);
    this.status = status;
    this.requestId = requestId;
    this.body = body;
  }
}

/**
 * Send a request and return the decoded reply. Raises ApiError with the server's sentence.
 * @param {string} method @param {string} path
 * @param {{body?: any, query?: object, headers?: object, signal?: AbortSignal,
 *   full?: boolean, blob?: boolean}} options `full` returns the headers too.
 */
export async function api(method, path, options = {}) {
  await renewExpired();
  const sentToken = token;
  let response = await send(method, path, options);
  const mayRepeat = response.status === 401 && user.value;
  if (mayRepeat && (await isRefused(sentToken))) {
    if (!(await renew())) await signInAgain();
    response = await send(method, path, options);
  }
  if (options.blob && response.ok) return response.blob();
  return read(response, options.full);
}
export const get = (path, query, options) => api('GET', path, { query, ...options });
export const post = (path, body, options) => api('POST', path, { body, ...options });
export const patch = (path, body, options) => api('PATCH', path, { body, ...options });
export const put = (path, body, options) => api('PUT', path, { body, ...options });
export const remove = (path, options) => api('DELETE', path, options);

/** Replies to what screens ask for again and again, by their addresses. */
const known = new Map();
const MOST_KNOWN = 20;

/** Like `get`, where the answer is often the same: then the server sends no more than that. */
export async function getAgain(path, query) {
  const address = path + formatQuery(query);
  const before = known.get(address);
  const headers = before && { 'if-none-match': before.tag };
  const { body, headers: received } = await get(path, query, { headers, full: true });
  if (body === null && before) return before.body;
  known.delete(address);
  known.set(address, { body, tag: received.get('etag') });
  if (known.size > MOST_KNOWN) known.delete(known.keys().next().value);
  return body;
}

/** Build a path: segments are quoted. @param {any[]} values */
export function url(strings, ...values) {
  const segments = values.map((value) => encodeURIComponent(String(value)));
  return String.raw({ raw: strings }, ...segments);
}

/**
 * Open a stream (server-sent events), with the token.
 * @param {string} path
 * @param {{signal?: AbortSignal, headers?: object, query?: object, body?: any}} options One with a `body`
 *   is a POST.
 */
export async function stream(path, options = {}) {
  await renewExpired();
  const response = await send(options.body ? 'POST' : 'GET', path, options);
  if (!response.ok) await read(response);
  return response.body;
}

/**
 * Send a request once, with the access token of now or another one.
 * @param {string} method @param {string} path @param {any} options
 */
async function send(method, path, options = {}, accessToken = token) {
  const { body, query, headers, signal: abort } = options;
  /** @type {any} */
  const init = { method, signal: abort, headers: { ...headers } };
  if (accessToken) init.headers.authorization = `Bearer ${accessToken}`;
  const isEncoded = body instanceof FormData || typeof body === 'string';
  if (isEncoded) {
    init.body = body;
  } else if (body !== undefined) {
    init.body = stringify(body);
    init.headers['content-type'] = 'application/json';
  }
  try {
    const response = await fetch(resolvePath(path) + formatQuery(query), init);
    away.value = false;
    return response;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    watchServer();
    throw new ApiError(0, 'The server does not answer.');
  }
}

/**
 * Send a file as a body of its own. Raises ApiError with the server's sentence.
 * @param {string} path @param {Blob} file
 * @param {(part: number) => void} onProgress gets how much is sent, from 0 to 1
 * @returns {Promise<any>}
 */
export async function upload(path, file, onProgress) {
  await renewExpired();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch reports no progress
    request.open('POST', resolvePath(path));
    if (token) request.setRequestHeader('authorization', `Bearer ${token}`);
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onerror = () => reject(new ApiError(0, 'The server does not answer.'));
    request.onload = () => {
      const headers = { 'x-request-id': request.getResponseHeader('x-request-id') ?? '' };
      const response = new Response(request.responseText, { status: request.status, headers });
      read(response).then(resolve, reject);
    };
    request.send(file);
  });
}

/** The text of a query with its `?`; members without a value are left out. @param {object} [query] */
export function formatQuery(query) {
  const isSet = (value) => value !== undefined && value !== null && value !== '';
  const members = Object.entries(query ?? {}).filter(([, value]) => isSet(value));
  return members.length ? `?${new URLSearchParams(members)}` : '';
}

async function read(response, full = false) {
  const requestId = response.headers.get('x-request-id') ?? '';
  const text = await response.text();
  let body = text;
  try {
    body = text ? parse(text) : null;
  } catch {
    /* not JSON: shown as it is */
  }
  if (!response.ok && response.status !== 304) {
    const message = body?.error ?? `The server answered ${response.status}.`;
    throw new ApiError(response.status, message, requestId, body);
  }
  return full ? { body, headers: response.headers, requestId } : body;
}

// --- the session

async function renewExpired() {
  if (token && Date.now() > expires) await renew();
}

/**
 * Whether the server refuses an access token. A reply of 401 alone does not say it: a wrong code of
 * the second factor has this status too, and a request that is repeated would count it twice.
 */
async function isRefused(accessToken) {
  const response = await send('GET', ACCOUNT, {}, accessToken);
  return response.status === 401;
}

/** Continue the session of the cookie, if there is one. @returns {Promise<boolean>} */
export function renew() {
  renewing ??= openSession(readKey()).finally(() => {
    renewing = null;
  });
  return renewing;
}

/** Another tab may have signed in since: the key is read each time. */
const readKey = () => ({ key: localStorage.getItem(KEY) ?? '' });

async function openSession(body) {
  const response = await send('POST', SESSION, { body });
  const reply = await read(response);
  token = reply.accessToken;
  if (body.refreshToken && reply.key) localStorage.setItem(KEY, reply.key);
  expires = Date.now() + (reply.expiresIn - 20) * 1000;
  return token !== null || reply.signIn === 'external';
}

/** Load the account of the session. @returns {Promise<boolean>} */
export async function resume() {
  if (!(await renew())) return false;
  user.value = await read(await send('GET', ACCOUNT));
  return true;
}

export async function signIn(username, password, code = '') {
  token = null;
  const body = { username, password };
  if (code) body.code = code;
  const reply = await read(await send('POST', '/api/v1/auth/login', { body }));
  token = reply.accessToken;
  expires = Date.now() + 20_000;
  // The cookie is for the next reload: nothing waits for it.
  renewing = openSession({ refreshToken: reply.refreshToken }).finally(() => {
    renewing = null;
  });
  user.value = reply.user;
  ended.value = false;
  waiting.splice(0).forEach((goOn) => goOn());
}

export async function signOut() {
  await send('DELETE', SESSION, { body: readKey() }).catch(() => null);
  localStorage.removeItem(KEY);
  token = null;
  location.hash = '';
  location.reload();
}

/** Wait until the user has signed in again: what is typed in open forms stays. */
function signInAgain() {
  ended.value = true;
  return new Promise((resolve) => waiting.push(() => resolve(true)));
}

// --- a server that went away

function watchServer() {
  if (away.value) return;
  away.value = true;
  const timer = setInterval(async () => {
    const isUp = await checkHealth();
    if (isUp || !away.value) {
      clearInterval(timer);
      away.value = false;
    }
  }, LOOK_AGAIN);
}

async function checkHealth() {
  try {
    const response = await fetch(resolvePath('/health'));
    return response.ok;
  } catch {
    return false;
  }
}
