/** Streams of events (server-sent events): decoded, and resumed after a break. */
import { CaudexError } from './errors.js';
import { sleep } from './transport.js';

/** Milliseconds before a broken stream is opened again; they double up to the second one. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;

/**
 * @typedef {object} StreamEvent
 * @property {string} type
 * @property {string} id
 * @property {any} data decoded; null where only the position is known
 */

/**
 * @typedef {object} StreamOptions
 * @property {'GET' | 'POST'} [method]
 * @property {Record<string, any>} [query]
 * @property {any} [body]
 * @property {string} [since] the `id` behind which the stream begins
 * @property {AbortSignal} [signal]
 */

/**
 * Iterate over the events of a stream, without an end: a broken stream goes on behind the last event.
 * @param {import('./transport.js').Transport} transport @param {string} address
 * @param {StreamOptions} options
 * @returns {AsyncGenerator<StreamEvent>}
 */
export async function* followEvents(
  transport,
  address,
  { method = 'GET', query, body, since = '', signal },
) {
  let lastId = since;
  let pause = FIRST_PAUSE;
  /** Said once the next stream has begun: a list that is read before misses what comes until then. */
  let resync = /** @type {StreamEvent | null} */ (null);
  for (;;) {
    /** @type {Record<string, string>} */
    const headers = { accept: 'text/event-stream' };
    if (lastId !== '') headers['last-event-id'] = lastId;
    try {
      const options = { query, body, headers, signal, readsOnly: true };
      const response = await transport.open(method, address, options);
      for await (const event of decodeEvents(response.body)) {
        if (event.id !== '') lastId = event.id;
        pause = FIRST_PAUSE;
        if (event.type === 'end' && hasOtherView(event)) {
          // What was seen before is not what the caller may read now.
          lastId = '';
          resync = { ...event, type: 'resync' };
          continue;
        }
        if (event.type === 'ready' && resync !== null) yield { ...resync, id: event.id };
        // A live query has its list in the page.
        if (event.type === 'ready' || event.type === 'page') resync = null;
        if (event.data !== null && event.type !== 'end') {
          yield event;
        }
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      // A refusal stays one; a connection that broke does not.
      if (error instanceof CaudexError && error.status !== 0) throw error;
    }
    // Clients that lost their server at once do not come back at once.
    await sleep(pause * (0.5 + Math.random() / 2), signal);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

/** Whether a stream ended because its caller may read other records or fields. @param {StreamEvent} event */
function hasOtherView(event) {
  return event.data.reason === 'role' || event.data.reason === 'entity changed';
}

/**
 * Iterate over the changes of records: events of a feed, each with its position.
 * @param {import('./transport.js').Transport} transport @param {string} address
 * @param {StreamOptions} options
 */
export async function* followChanges(transport, address, options) {
  for await (const event of followEvents(transport, address, options)) {
    yield { ...event.data, type: event.type, position: event.id };
  }
}

/**
 * Decode the events of a body.
 * @param {ReadableStream<Uint8Array> | null} body @returns {AsyncGenerator<StreamEvent>}
 */
async function* decodeEvents(body) {
  if (body === null) return;
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const text = rest + decoder.decode(value, { stream: true });
      const blocks = text.split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = decodeBlock(block);
        if (event !== null) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Decode an event; null for a comment without an id. @param {string} block @returns {StreamEvent | null} */
function decodeBlock(block) {
  const event = { type: 'message', id: '', data: /** @type {any} */ (null) };
  const lines = [];
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event') event.type = value;
    if (name === 'id') event.id = value;
    if (name === 'data') lines.push(value);
  }
  if (lines.length > 0) event.data = JSON.parse(lines.join('\n'));
  return lines.length > 0 || event.id !== '' ? event : null;
}
