/** Changes of records as they happen, where the plugin `feed` is on. */
import { useEffect, useRef, useState } from '../core/kit.js';
import { stream, url } from '../core/api.js';
import { parse, stringify } from '../core/json.js';
import { features } from '../core/store.js';

/** Milliseconds until a broken stream is opened again: at first, and at most. */
const SHORTEST = 500;
const LONGEST = 15_000;
/** Statuses that another attempt does not change, such as of a condition that no feed takes. */
const FINAL = [400, 403, 404];
/** Why a stream ended whose next one shows other records or fields. */
const OTHER_VIEW = ['role', 'entity changed'];

/**
 * Follow the changes of an entity: `take` gets `{type, id, record, actor}` of each piece, where
 * `resync` says that changes are missing, without a `reason` that they may be: before the first
 * stream without `since`. A stream that breaks goes on where it was. One is open only while the page
 * is seen, as a browser has few connections.
 * @param {{appId: string, entity: any, where?: any, since?: string, isOn?: boolean}} target `since`
 *   is the position to begin behind
 * @param {(events: any[]) => void} take
 */
export function useFeed({ appId, entity, where, since, isOn = true }, take) {
  const latest = useRef(take);
  latest.current = take;
  const path = url`/api/v1/apps/${appId}/collections/${entity.name}/feed`;
  const condition = where ? stringify(where) : '';
  const isFollowed = isOn && features.value.has('feed');
  useEffect(() => {
    if (!isFollowed) return undefined;
    const ending = new AbortController();
    const open = (options) => stream(path, { query: { where: condition }, ...options });
    follow(open, since, ending.signal, (events) => latest.current(events));
    return () => ending.abort();
  }, [path, condition, isFollowed]);
}

/**
 * Follow the changes of several entities of an app by one stream, as `useFeed` does.
 * @param {string} appId @param {string[]} names of entities @param {(events: any[]) => void} take
 * @returns {boolean} whether they are followed; the server may refuse
 */
export function useFeeds(appId, names, take) {
  const latest = useRef(take);
  latest.current = take;
  const [isRefused, setRefused] = useState(false);
  const path = url`/api/v1/apps/${appId}/feed`;
  const key = names.join();
  const isFollowed = names.length > 0 && features.value.has('feed') && !isRefused;
  useEffect(() => {
    if (!isFollowed) return undefined;
    const ending = new AbortController();
    const subscribe = Object.fromEntries(names.map((entity) => [entity, { entity }]));
    const open = (options) => stream(path, { body: { subscribe }, ...options });
    const run = async () => {
      await follow(open, undefined, ending.signal, (events) => latest.current(events));
      if (!ending.signal.aborted) setRefused(true);
    };
    run();
    return () => ending.abort();
  }, [path, key, isFollowed]);
  return isFollowed;
}

/** Follow a stream until `ended` is aborted, or the server refuses it. */
async function follow(open, since, ended, take) {
  let last = since;
  let pause = SHORTEST;
  /** Said once a stream has begun: what is read before misses what comes until then. */
  let resync = since ? null : { type: 'resync' };
  const takeAll = (events) => {
    pause = SHORTEST;
    const changes = [];
    for (const { type, id, data } of events) {
      last = id ?? last;
      if (!data) continue;
      const change = { ...parse(data), type, position: id };
      if (type === 'end' && OTHER_VIEW.includes(change.reason)) {
        resync = { ...change, type: 'resync' };
        last = '';
        continue;
      }
      if (type === 'ready' && resync) {
        changes.push({ ...resync, position: id });
        resync = null;
      }
      changes.push(change);
    }
    if (changes.length) take(changes);
  };
  while (!ended.aborted) {
    await waitUntilSeen(ended);
    const hidden = endWhenHidden(ended);
    try {
      const headers = last ? { 'last-event-id': last } : {};
      await readEvents(await open({ headers, signal: hidden.signal }), takeAll);
    } catch (error) {
      if (FINAL.includes(error.status)) {
        if (resync?.reason) take([resync]); // what is shown may not be read any more
        return;
      }
    } finally {
      hidden.stop();
    }
    if (!document.hidden) await rest(pause);
    pause = Math.min(pause * 2, LONGEST);
  }
}

const rest = (pause) => new Promise((resolve) => setTimeout(resolve, pause));

/** @param {AbortSignal} ended */
async function waitUntilSeen(ended) {
  while (document.hidden && !ended.aborted) {
    await new Promise((resolve) => {
      document.addEventListener('visibilitychange', resolve, { once: true });
      ended.addEventListener('abort', resolve, { once: true });
    });
  }
}

/** A signal that is aborted with another one, or when the page is hidden. @param {AbortSignal} ended */
function endWhenHidden(ended) {
  const controller = new AbortController();
  const end = () => controller.abort();
  const look = () => {
    if (document.hidden) end();
  };
  document.addEventListener('visibilitychange', look);
  ended.addEventListener('abort', end);
  const stop = () => {
    document.removeEventListener('visibilitychange', look);
    ended.removeEventListener('abort', end);
  };
  return { signal: controller.signal, stop };
}

// --- server-sent events of a stream, piece by piece

/**
 * Read events, `{type, id, data}`, and call `take` with those of each piece until it returns false.
 * One without `data` has only the position of its `id`.
 * @param {ReadableStream} body @param {(events: any[]) => boolean|void} take
 * @returns {Promise<boolean>} whether `take` wanted no more before the stream ended
 */
export async function readEvents(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let incomplete = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return false;
    const blocks = (incomplete + value).split('\n\n');
    incomplete = blocks.pop();
    const events = blocks.map(parseEvent).filter(({ id, data }) => id || data);
    if (take(events) === false) {
      reader.cancel();
      return true;
    }
  }
}

function parseEvent(block) {
  const members = block.split('\n');
  const read = (name) => {
    const line = members.find((member) => member.startsWith(`${name}: `));
    return line?.slice(name.length + 2);
  };
  return { type: read('event'), id: read('id'), data: read('data') };
}
