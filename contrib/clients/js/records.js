/** Records of one entity, and writes of several. */
import { followChanges } from './events.js';
import { path } from './transport.js';

/** Records of a page where the caller names no number. */
const PAGE_SIZE = 200;

export class Collection {
  /**
   * @param {import('./transport.js').Transport} transport
   * @param {string} app @param {string} entity
   */
  constructor(transport, app, entity) {
    this._transport = transport;
    this._path = path`/api/v1/apps/${app}/collections/${entity}`;
  }

  /**
   * Read records: all that match, or a page of `limit`.
   * @param {{filter?: Record<string, any>, sort?: string, order?: 'asc' | 'desc', limit?: number,
   *   offset?: number, after?: string, fields?: string[], expand?: string[],
   *   signal?: AbortSignal}} [options]
   */
  list({ filter, fields, expand, signal, ...options } = {}) {
    const query = {
      ...filter,
      ...options,
      fields: joined(fields),
      expand: joined(expand),
    };
    return this._transport.request('GET', this._path, { query, signal });
  }

  /**
   * Iterate over all records that match, a page at a time.
   * @param {Parameters<Collection['list']>[0]} [options] `limit` is the size of a page
   */
  async *pages(options = {}) {
    const limit = options.limit ?? PAGE_SIZE;
    let after = options.after;
    for (;;) {
      const page = await this.list({ ...options, limit, after });
      if (page.length > 0) yield page;
      if (page.length < limit) return;
      after = page.at(-1).id;
    }
  }

  /**
   * Search, filter, sort and count; see the reference of `/query`.
   * @param {Record<string, any>} [query] @param {{signal?: AbortSignal}} [options]
   */
  query(query = {}, { signal } = {}) {
    const options = { body: query, signal, readsOnly: true };
    return this._transport.request('POST', `${this._path}/query`, options);
  }

  /**
   * Follow the changes of records: `{type: 'enter' | 'change' | 'leave', id, record, position}`, and
   * `ready` once all up to now came. A broken connection goes on where it was. `resync` says that the
   * changes since then are not available, or that the caller may read others: read the list again.
   * @param {{where?: Record<string, any>, fields?: string[], since?: string, signal?: AbortSignal}} [options]
   */
  feed({ where, fields, since, signal } = {}) {
    const options = { query: { where, fields: joined(fields) }, since, signal };
    return followChanges(this._transport, `${this._path}/feed`, options);
  }

  /**
   * Follow a query: `{type: 'page', data, total}`, then its changes as in `feed`, or with `limit` and
   * the like a further `page` where the reply differs.
   * @param {Record<string, any>} [query] @param {{signal?: AbortSignal}} [options]
   */
  live(query = {}, { signal } = {}) {
    const options = { method: /** @type {const} */ ('POST'), body: query, signal };
    return followChanges(this._transport, `${this._path}/query`, options);
  }

  /**
   * Read a record.
   * @param {string} id @param {{fields?: string[], expand?: string[], signal?: AbortSignal}} [options]
   */
  async get(id, { fields, expand, signal } = {}) {
    const query = { fields: joined(fields), expand: joined(expand) };
    const options = { query, signal };
    const response = await this._transport.open('GET', this._path + path`/${id}`, options);
    return withTag(response);
  }

  /** Create a record. @param {Record<string, any>} values */
  async create(values) {
    const options = { body: values, idempotent: true };
    return withTag(await this._transport.open('POST', this._path, options));
  }

  /**
   * Change fields of a record. With `ifMatch` (a tag of `tagOf`) only where no user has changed it
   * since: else a CaudexError with status 412, whose `body.current` is the present record.
   * @param {string} id @param {Record<string, any>} values @param {{ifMatch?: string}} [options]
   */
  async update(id, values, { ifMatch } = {}) {
    const options = { body: values, headers: conditions(ifMatch) };
    return withTag(await this._transport.open('PATCH', this._path + path`/${id}`, options));
  }

  /** Delete a record. @param {string} id @param {{ifMatch?: string}} [options] */
  async delete(id, { ifMatch } = {}) {
    const options = { headers: conditions(ifMatch) };
    await this._transport.request('DELETE', this._path + path`/${id}`, options);
  }

  /** Create up to 1000 records, all or none. @param {Record<string, any>[]} rows */
  bulk(rows) {
    return this._transport.request('POST', `${this._path}/bulk`, {
      body: rows,
      idempotent: true,
    });
  }

  /**
   * Create or change records by a unique field.
   * @param {Record<string, any>[]} rows
   * @param {{on: string, then?: 'update' | 'ignore' | 'fail'}} options
   */
  async upsert(rows, { on, then = 'update' }) {
    const query = { on, then };
    const options = { body: rows, query, idempotent: true };
    const reply = await this._transport.request('POST', `${this._path}/bulk`, options);
    return reply.data;
  }

  /**
   * Import CSV or JSON lines. The options say how the file is written, as the route has them.
   * @param {string | Blob} body
   * @param {{format?: 'csv' | 'ndjson', on?: string, mode?: 'all' | 'valid', dryRun?: boolean,
   *   create?: 'ids', raw?: boolean, preview?: number, charset?: string, delimiter?: string,
   *   decimal?: '.' | ',', dates?: 'iso' | 'dmy' | 'mdy', null?: string,
   *   signal?: AbortSignal}} [options]
   */
  import(body, { format = 'csv', signal, ...query } = {}) {
    return this._transport.request('POST', `${this._path}/import`, {
      body,
      query,
      headers: { 'content-type': MEDIA_TYPES[format] },
      signal,
      idempotent: true,
    });
  }

  /**
   * Export what matches as CSV or JSON lines; returns the reply, whose body is a stream.
   * @param {{format?: 'csv' | 'ndjson', query?: Record<string, any>, raw?: boolean,
   *   signal?: AbortSignal}} [options]
   */
  export({ format = 'csv', query = {}, raw, signal } = {}) {
    return this._transport.open('POST', `${this._path}/query`, {
      body: query,
      query: { raw },
      headers: { accept: MEDIA_TYPES[format] },
      signal,
      readsOnly: true,
    });
  }
}

const MEDIA_TYPES = { csv: 'text/csv', ndjson: 'application/x-ndjson' };
/** The tag of a record that this client has read or written. @type {WeakMap<object, string>} */
const TAGS = new WeakMap();

/** Return the tag of a record, for `ifMatch`; undefined where none came with it. @param {object} record */
export function tagOf(record) {
  return TAGS.get(record);
}

/** @param {Response} response */
async function withTag(response) {
  const record = await response.json();
  const tag = response.headers.get('etag');
  if (tag !== null) TAGS.set(record, tag);
  return record;
}

/** @param {string | undefined} ifMatch @returns {Record<string, string>} */
function conditions(ifMatch) {
  return ifMatch === undefined ? {} : { 'if-match': ifMatch };
}

/** @param {string[] | undefined} names */
function joined(names) {
  return names?.join(',');
}
