/** One app: its collections, jobs, calls, files and logs. */
import { CaudexError } from './errors.js';
import { followChanges, followEvents } from './events.js';
import { Collection } from './records.js';
import { path, queryText, sleep } from './transport.js';

/** Milliseconds between two looks at a job; they grow by half. */
const FIRST_LOOK = 100;
const LONGEST_LOOK = 3000;
const ENDED = ['completed', 'failed', 'cancelled'];

export class App {
  /** @param {import('./transport.js').Transport} transport @param {string} id */
  constructor(transport, id) {
    this.id = id;
    this._transport = transport;
    this._path = path`/api/v1/apps/${id}`;
    this.jobs = new Jobs(transport, this._path);
    this.files = new Files(transport, this._path);
  }

  /** Return the records of an entity. @param {string} entity */
  collection(entity) {
    return new Collection(this._transport, this.id, entity);
  }

  /**
   * Run up to 1000 operations in one transaction.
   * @param {Record<string, any>[]} operations @param {{dryRun?: boolean}} [options]
   */
  async batch(operations, { dryRun = false } = {}) {
    const options = { body: { operations, dryRun }, idempotent: true };
    const reply = await this._transport.request('POST', `${this._path}/batch`, options);
    return reply.results;
  }

  /**
   * Call a method of the app's worker. It may have been executed where the call fails, so it is
   * never repeated.
   * @param {string} method @param {Record<string, any>} [params] @param {{signal?: AbortSignal}} [options]
   */
  rpc(method, params = {}, { signal } = {}) {
    const body = { method, params };
    return this._transport.request('POST', `${this._path}/rpc`, {
      body,
      signal,
    });
  }

  /** Return the caller's roles and permissions: `{roles, permissions}`. */
  permissions() {
    return this._transport.request('GET', `${this._path}/permissions`);
  }

  /**
   * Follow several entities on one connection: the events of `Collection.feed`, each with the name
   * of its `subscription`.
   * @param {Record<string, {entity: string, where?: Record<string, any>, fields?: string[]}>} subscriptions
   * @param {{since?: string, signal?: AbortSignal}} [options]
   */
  feed(subscriptions, { since, signal } = {}) {
    const body = { subscribe: subscriptions };
    const options = { method: /** @type {const} */ ('POST'), body, since, signal };
    return followChanges(this._transport, `${this._path}/feed`, options);
  }

  /**
   * Follow the lines of the worker's log: `{level, message, ts}`.
   * @param {{tail?: number, signal?: AbortSignal}} [options]
   */
  async *logs({ tail, signal } = {}) {
    const options = { query: { tail }, signal };
    for await (const event of followEvents(this._transport, `${this._path}/logs`, options)) {
      yield event.data;
    }
  }
}

class Jobs {
  /** @param {import('./transport.js').Transport} transport @param {string} appPath */
  constructor(transport, appPath) {
    this._transport = transport;
    this._path = `${appPath}/jobs`;
  }

  /**
   * Enqueue a job; returns its id.
   * @param {any} payload
   * @param {{run_at?: string, max_attempts?: number, timeout_s?: number, priority?: number,
   *   key?: string}} [options]
   */
  async enqueue(payload, options = {}) {
    const body = { ...options, payload };
    const reply = await this._transport.request('POST', this._path, {
      body,
      idempotent: true,
    });
    return reply.job_id;
  }

  /** Read a job. @param {string} id @param {{signal?: AbortSignal}} [options] */
  get(id, { signal } = {}) {
    return this._transport.request('GET', this._path + path`/${id}`, {
      signal,
    });
  }

  /** Read jobs, the newest first. @param {{status?: string, limit?: number, before?: string}} [options] */
  list(options = {}) {
    return this._transport.request('GET', this._path, { query: options });
  }

  /** Cancel a job. @param {string} id */
  async cancel(id) {
    await this._transport.request('POST', this._path + path`/${id}/cancel`);
  }

  /**
   * Wait until a job has ended; returns its result. Raises CaudexError with the job's error.
   * @param {string} id
   * @param {{signal?: AbortSignal, onProgress?: (progress: any) => void}} [options]
   */
  async wait(id, { signal, onProgress } = {}) {
    let pause = FIRST_LOOK;
    for (;;) {
      const job = await this.get(id, { signal });
      if (job.progress !== null) onProgress?.(job.progress);
      if (job.status === 'completed') return job.result;
      if (ENDED.includes(job.status)) {
        throw new CaudexError(job.error ?? `the job was ${job.status}`, {
          body: job,
        });
      }
      await sleep(pause, signal);
      pause = Math.min(pause * 1.5, LONGEST_LOOK);
    }
  }
}

class Files {
  /** @param {import('./transport.js').Transport} transport @param {string} appPath */
  constructor(transport, appPath) {
    this._transport = transport;
    this._path = `${appPath}/files`;
  }

  /**
   * Upload a file; returns `{id, name, type, size}`, to be written into a field of a record.
   * @param {Blob} content
   * @param {{name?: string, signal?: AbortSignal,
   *   onProgress?: (sent: number, size: number) => void}} [options]
   */
  async upload(content, { name, signal, onProgress } = {}) {
    const query = { name: name ?? /** @type {File} */ (content).name };
    if (onProgress === undefined || typeof XMLHttpRequest === 'undefined') {
      const options = { body: content, query, signal };
      const reply = await this._transport.request('POST', this._path, options);
      onProgress?.(content.size, content.size);
      return reply;
    }
    const address = this._transport.address(this._path, query);
    const token = (await this._transport.session?.readToken()) ?? '';
    return sendWithProgress(address, token, content, { signal, onProgress });
  }

  /** Download a file; returns a Blob. @param {string} id @param {{signal?: AbortSignal}} [options] */
  async download(id, { signal } = {}) {
    const response = await this._transport.open('GET', this._path + path`/${id}`, { signal });
    return response.blob();
  }

  /**
   * Download a smaller picture of an image; returns a Blob.
   * @param {string} id @param {{width: number, height: number, signal?: AbortSignal}} options
   */
  async thumbnail(id, { width, height, signal }) {
    const address = this._path + path`/${id}` + queryText({ thumb: `${width}x${height}` });
    const response = await this._transport.open('GET', address, { signal });
    return response.blob();
  }

  /** Make an address that is good for some seconds without a token. @param {string} id @param {number} [seconds] */
  async link(id, seconds = 60) {
    const body = { seconds };
    const reply = await this._transport.request('POST', this._path + path`/${id}/link`, { body });
    return reply.url;
  }
}

/**
 * Send a file by XMLHttpRequest: `fetch` does not report what it has sent.
 * @param {string} address @param {string} token @param {Blob} content
 * @param {{signal?: AbortSignal, onProgress: (sent: number, size: number) => void}} options
 * @returns {Promise<any>}
 */
function sendWithProgress(address, token, content, { signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', address);
    request.responseType = 'json';
    if (token !== '') request.setRequestHeader('authorization', `Bearer ${token}`);
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onerror = () => reject(new CaudexError('the server does not answer'));
    request.onabort = () => reject(signal?.reason);
    request.onload = () => {
      const body = request.response;
      if (request.status === 201) {
        resolve(body);
        return;
      }
      const message = body?.error ?? `the server answered ${request.status}`;
      const requestId = request.getResponseHeader('x-request-id') ?? '';
      reject(new CaudexError(message, { status: request.status, requestId, body }));
    };
    signal?.addEventListener('abort', () => request.abort(), { once: true });
    request.send(content);
  });
}
