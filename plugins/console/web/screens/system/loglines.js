/** Lines of a log: read as a stream that resumes where it broke off, and shown by day. */
import { html } from '../../core/kit.js';
import { stream } from '../../core/api.js';
import { A } from '../../core/router.js';
import { features, mayReadTrail } from '../../core/store.js';
import { readEvents } from '../../feed/feed.js';

/** Milliseconds until a broken stream is opened again: at first, and at most. */
const SHORTEST = 500;
const LONGEST = 8000;
/** Statuses that another attempt does not change. */
const FINAL = [403, 404];

/**
 * Read server-sent events and call `take` with those of each piece, until it returns false; resume
 * where they broke off. `start` is the id behind which the first one is; `say` gets the state.
 */
export async function follow(path, start, abort, take, say) {
  let last = start;
  let pause = SHORTEST;
  const takeLines = (events) => {
    const lines = events.filter(({ data }) => data).map(makeLine);
    last = lines.at(-1)?.id || last;
    return !lines.length || take(lines);
  };
  while (!abort.aborted) {
    try {
      const headers = last ? { 'last-event-id': last } : {};
      const body = await stream(path, { signal: abort, headers });
      say('live');
      pause = SHORTEST;
      const isFull = await readEvents(body, takeLines);
      if (isFull) {
        say('more below');
        return;
      }
    } catch (error) {
      if (abort.aborted) return;
      if (FINAL.includes(error.status)) {
        say(error);
        return;
      }
    }
    say('waiting');
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST);
  }
}

const makeLine = ({ id, data }) => ({ id, ...JSON.parse(data) });

/** @param {{appId: string, lines: any[]}} props */
export function Lines({ appId, lines }) {
  let day = readDay(Date.now());
  return lines.map((line, index) => {
    const isNewDay = readDay(line.ts) !== day;
    day = readDay(line.ts);
    return html`${isNewDay && html`<h3 key=${`${index} ${line.ts}`}>${writeDay(line.ts)}</h3>`}
      <${Line} key=${line.id ?? index} appId=${appId} line=${line} />`;
  });
}

const Line = ({ appId, line }) => html`<div class="ll ${line.level}">
  <time datetime=${line.ts} title=${line.ts}>${writeClock(line.ts)}</time>
  <b>${line.level}</b>
  <span>${linkIds(appId, line.message)}</span>
</div>`;

const readDay = (time) => new Date(time).toDateString();
const writeDay = (time) => new Date(time).toLocaleDateString(undefined, { dateStyle: 'full' });
/** `10:30:05.123`, in the time of the browser. */
function writeClock(time) {
  const date = new Date(time);
  const milliseconds = String(date.getMilliseconds()).padStart(3, '0');
  return `${date.toTimeString().slice(0, 8)}.${milliseconds}`;
}

/** Ids of requests; those of jobs have dashes, and are the ids of what the job requested as well. */
const IDS = /\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})\b/;

/** The text of a line, with links from each id to what it changed and to its job. */
function linkIds(appId, text) {
  const parts = text.split(IDS);
  // Of a split by a group every second part is what the group matched.
  return parts.map((part, index) =>
    index % 2 === 0 ? part : html`<${Id} key=${index} appId=${appId} id=${part} />`,
  );
}

function Id({ appId, id }) {
  const isJob = id.includes('-') && features.value.has('jobs');
  const audit = html`<${A} to=${['audit']} query=${{ app: appId, request: id }}>audit<//>`;
  const job = html`<${A} to=${['jobs', appId]} query=${{ job: id }}>job<//>`;
  return html`<span class="id">${id} ${mayReadTrail(appId) && audit} ${isJob && job}</span>`;
}
