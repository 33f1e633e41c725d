/** The log of an app as it grows, or from a time on: pause, level, text; resumes by id. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { formatQuery, stream, url } from '../../core/api.js';
import { A, setQuery } from '../../core/router.js';
import { Head } from '../../core/screen.js';
import { features, findTrace, holds, mayReadTrail } from '../../core/store.js';
import { Empty, ErrorBox, Typed, icon } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { WithApp } from '../../parts/apppick.js';
import { readEvents } from '../../feed/feed.js';

const LEVELS = ['debug', 'info', 'warn', 'error', 'stdout', 'stderr', 'system', 'event'];
/** Lines of a growing log that the page keeps, and those that it begins with. */
const MOST_KEPT = 5000;
const FIRST = 500;
/** Lines from a time on; the next ones come when they are asked for. */
const PAGE = 2000;

export default function Logs({ parts: [appId], query }) {
  const fits = (app) => holds(app, 'core:logs.read');
  return html`<${WithApp} screen="logs" appId=${appId} fits=${fits}>
    ${(id, picker) => html`<${Screen}
      key=${`${id} ${query.at}`}
      appId=${id}
      picker=${picker}
      query=${query}
    />`}
  <//>`;
}

/** The lines as they come; while it is paused they wait. `after` is the id to begin behind. */
function useLines(path, parameters, isPaged, isPaused) {
  const [lines, setLines] = useState([]);
  const [state, setState] = useState('opening');
  const [after, setAfter] = useState('');
  const waiting = useRef([]);
  const paused = useRef(false);
  paused.current = isPaused;
  const add = (added) => setLines((before) => [...before, ...added].slice(-MOST_KEPT));
  useEffect(() => {
    const abort = new AbortController();
    let count = 0;
    const take = (arrived) => {
      const added = isPaged ? arrived.slice(0, PAGE - count) : arrived;
      count += added.length;
      if (paused.current) {
        waiting.current.push(...added);
      } else {
        add(added);
      }
      return !isPaged || count < PAGE;
    };
    follow(path + formatQuery(parameters), after, abort.signal, take, setState);
    return () => abort.abort();
  }, [after]);
  useEffect(() => {
    if (!isPaused) add(waiting.current.splice(0));
  }, [isPaused]);
  const goOn = () => {
    setAfter(lines.at(-1).id);
    setLines([]);
    waiting.current = [];
  };
  return { lines, state, goOn };
}

function Screen({ appId, picker, query }) {
  const [isPaused, setPaused] = useState(false);
  const box = useRef(null);
  const isPaged = Boolean(Date.parse(query.at));
  const parameters = isPaged ? { since: new Date(query.at).toISOString() } : { tail: FIRST };
  const path = url`/api/v1/apps/${appId}/logs`;
  const { lines, state, goOn } = useLines(path, parameters, isPaged, isPaused);
  useEffect(() => {
    if (!isPaused && !isPaged) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, isPaused]);
  const showNext = () => {
    goOn();
    box.current.scrollTop = 0;
  };
  const shown = lines.filter((line) => matches(line, query));
  const error = state instanceof Error ? state : null;
  const emptyTitle = lines.length ? 'No line matches' : 'No lines yet';
  return html`<div class="logs">
    <${Head} title="Log" request=${{ method: 'GET', path, query: parameters }}>
      ${picker}
      <${Filters} query=${query} />
      <button onClick=${() => setPaused(!isPaused)}>
        ${icon(isPaused ? 'play' : 'stop')}
        ${isPaused ? 'Resume' : 'Pause'}
      </button>
      <${State} state=${error ? 'refused' : state} isPaused=${isPaused} />
    <//>
    <${ErrorBox} error=${error} />
    <div class="loglines" ref=${box} tabindex="0" role="log" aria-label="Log lines">
      <${Lines} appId=${appId} lines=${shown} />
      ${
        !shown.length &&
        !error &&
        html`<${Empty} title=${emptyTitle} glyph="log">
          What the worker prints and logs appears here.
        <//>`
      }
      ${
        state === 'more below' &&
        html`<button class="small" onClick=${showNext}>Next lines</button>`
      }
    </div>
  </div>`;
}

function matches(line, { level, q: text = '' }) {
  if (level && line.level !== level) return false;
  return line.message.toLowerCase().includes(text.toLowerCase());
}

function State({ state, isPaused }) {
  const isLive = state === 'live' && !isPaused;
  return html`<span class="tag ${isLive ? 'good' : 'warn'}" role="status">
    ${isPaused ? 'paused' : state}
  </span>`;
}

function Filters({ query }) {
  const chooseLevel = (event) => setQuery({ level: event.target.value || null });
  const search = (event) => setQuery({ q: event.target.value || null }, { replace: true });
  return html`<select aria-label="Level" onChange=${chooseLevel}>
      <${Options} choices=${[['', 'every level'], ...LEVELS]} chosen=${query.level ?? ''} />
    </select>
    <input
      type="search"
      data-filter
      aria-label="Find in the log"
      placeholder="Find"
      value=${query.q ?? ''}
      onInput=${search}
    />
    <${Typed}
      type="datetime-local"
      aria-label="From this time"
      title="From this time"
      value=${query.at}
      change=${(time) => setQuery({ at: time })}
    />`;
}

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

/** The text of a line, with links from each id to what it caused and to its job. */
function linkIds(appId, text) {
  const parts = text.split(IDS);
  // Of a split by a group every second part is what the group matched.
  return parts.map((part, index) =>
    index % 2 === 0 ? part : html`<${Id} key=${index} appId=${appId} id=${part} />`,
  );
}

function Id({ appId, id }) {
  const isJob = id.includes('-') && features.value.has('jobs');
  const request = html`<${A} ...${findTrace(appId, id)}>request<//>`;
  const job = html`<${A} to=${['jobs', appId]} query=${{ job: id }}>job<//>`;
  return html`<span class="id">${id} ${mayReadTrail(appId) && request} ${isJob && job}</span>`;
}
