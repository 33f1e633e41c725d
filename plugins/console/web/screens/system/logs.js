/** The log of an app as it grows, or from a time on: pause, level, text; resumes by id. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { queryText, stream, url } from '../../core/api.js';
import { A, setQuery } from '../../core/router.js';
import { features, holds, readsTrail } from '../../core/store.js';
import { Empty, ErrorBox, Head, Typed, icon } from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';

const LEVELS = ['debug', 'info', 'warn', 'error', 'stdout', 'stderr', 'system', 'event'];
const KEPT = 5000;
/** Lines from a time on; the next ones come when they are asked for. */
const PAGE = 2000;

export default function Logs({ parts: [appId], query }) {
  const fits = (app) => holds(app, 'core:logs.read');
  return html`<${WithApp} screen="logs" appId=${appId} fits=${fits}>
    ${(id, picker) => html`<${Screen} key=${`${id} ${query.at}`} appId=${id} picker=${picker} query=${query} />`}
  <//>`;
}

/**
 * Read server-sent events and call `take` with those of each piece, until it returns false; resume
 * where they broke off. `last` is the id behind which the first one is.
 */
async function follow(path, last, abort, take, say) {
  for (let pause = 500; !abort.aborted; pause = Math.min(pause * 2, 8000)) {
    try {
      const body = await stream(path, {
        signal: abort,
        headers: last ? { 'last-event-id': last } : {},
      });
      say('live');
      pause = 500;
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split('\n\n');
        rest = events.pop();
        const lines = events.map(parse).filter(Boolean);
        last = lines[lines.length - 1]?.id || last;
        if (lines.length && !take(lines)) {
          say('more below');
          reader.cancel();
          return;
        }
      }
    } catch (error) {
      if (abort.aborted) return;
      if ([403, 404].includes(error.status)) {
        say(error);
        return;
      }
    }
    say('waiting');
    await new Promise((go) => setTimeout(go, pause));
  }
}

function parse(event) {
  const field = (name) =>
    event
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2);
  const data = field('data');
  return data ? { id: field('id'), ...JSON.parse(data) } : null;
}

/** Ids of requests; those of jobs have dashes, and are the ids of what the job requested as well. */
const IDS = /\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})\b/;

/** The text of a line, with links from each id to what it changed and to its job. */
function linked(appId, text) {
  const parts = text.split(IDS);
  if (parts.length === 1) return text;
  return parts.map((part, i) =>
    i % 2 === 0
      ? part
      : html`<span class="id" key=${i}
          >${part}${' '}${
            readsTrail(appId) &&
            html`<${A} to=${['audit']} query=${{ app: appId, request: part }}>audit<//>${' '}`
          }${
            part.includes('-') &&
            features.value.has('jobs') &&
            html`<${A} to=${['jobs', appId]} query=${{ job: part }}>job<//>`
          }</span
        >`,
  );
}

const dayOf = (ts) => new Date(ts).toDateString();
const dayText = (ts) => new Date(ts).toLocaleDateString(undefined, { dateStyle: 'full' });
/** `10:30:05.123`, in the time of the browser. */
function clock(ts) {
  const at = new Date(ts);
  return `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

function Screen({ appId, picker, query }) {
  const [lines, setLines] = useState([]);
  const [state, say] = useState('opening');
  const [paused, pause] = useState(false);
  const [after, turn] = useState('');
  const box = useRef(null);
  const held = useRef([]);
  const stopped = useRef(false);
  stopped.current = paused;
  const since = Date.parse(query.at) ? new Date(query.at).toISOString() : null;
  const path = url`/api/v1/apps/${appId}/logs`;
  const asked = since ? { since } : { tail: 500 };
  useEffect(() => {
    const abort = new AbortController();
    let count = 0;
    const take = (found) => {
      const more = since ? found.slice(0, PAGE - count) : found;
      count += more.length;
      if (stopped.current) held.current.push(...more);
      else setLines((all) => [...all, ...more].slice(-KEPT));
      return !since || count < PAGE;
    };
    follow(path + queryText(asked), after, abort.signal, take, say);
    return () => abort.abort();
  }, [after]);
  useEffect(() => {
    if (!paused && !since) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, paused]);
  const next = () => {
    turn(lines[lines.length - 1].id);
    setLines([]);
    held.current = [];
    box.current.scrollTop = 0;
  };
  const resume = () => {
    setLines((all) => [...all, ...held.current.splice(0)].slice(-KEPT));
    pause(false);
  };
  const low = (query.q ?? '').toLowerCase();
  const shown = lines.filter(
    (l) =>
      (!query.level || l.level === query.level) && (!low || l.message.toLowerCase().includes(low)),
  );
  const error = state instanceof Error ? state : null;
  const today = dayOf(Date.now());
  return html`<div class="logs">
    <${Head} title="Log" request=${{ method: 'GET', path, query: asked }}>
      ${picker}
      <select aria-label="Level" onChange=${(e) => setQuery({ level: e.target.value || null })}>
        <option value="">every level</option>
        ${LEVELS.map((l) => html`<option key=${l} selected=${query.level === l}>${l}</option>`)}
      </select>
      <input
        type="search"
        data-filter
        aria-label="Find in the log"
        placeholder="Find"
        value=${query.q ?? ''}
        onInput=${(e) => setQuery({ q: e.target.value || null }, { replace: true })}
      />
      <${Typed}
        type="datetime-local"
        aria-label="From this time"
        title="From this time"
        value=${query.at}
        change=${(at) => setQuery({ at })}
      />
      <button onClick=${paused ? resume : () => pause(true)}>
        ${icon(paused ? 'play' : 'stop')}
        ${paused ? 'Resume' : 'Pause'}
      </button>
      <span class="tag ${state === 'live' && !paused ? 'good' : 'warn'}" role="status">
        ${paused ? 'paused' : error ? 'refused' : state}
      </span>
    <//>
    <${ErrorBox} error=${error} />
    <div class="loglines" ref=${box} tabindex="0" role="log" aria-label="Log lines">
      ${shown.map(
        (l, i) => html`${
          dayOf(l.ts) !== (i ? dayOf(shown[i - 1].ts) : today) &&
          html`<h3 key=${`${i} ${l.ts}`}>${dayText(l.ts)}</h3>`
        }<div key=${l.id ?? i} class="ll ${l.level}">
          <time datetime=${l.ts} title=${l.ts}>${clock(l.ts)}</time>
          <b>${l.level}</b>
          <span>${linked(appId, l.message)}</span>
        </div>`,
      )}
      ${
        !shown.length &&
        !error &&
        html`<${Empty} title=${lines.length ? 'No line matches' : 'No lines yet'} glyph="log">
          What the worker prints and logs appears here.
        <//>`
      }
      ${state === 'more below' && html`<button class="small" onClick=${next}>Next lines</button>`}
    </div>
  </div>`;
}
