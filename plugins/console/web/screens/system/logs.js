/** The log of an app as it grows, or from a time on: pause, level, text; resumes by id. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { formatQuery, url } from '../../core/api.js';
import { setQuery } from '../../core/router.js';
import { Head } from '../../core/screen.js';
import { holds } from '../../core/store.js';
import { Empty, ErrorBox, Typed, icon } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { WithApp } from '../../parts/apppick.js';
import { Lines, follow } from './loglines.js';

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
