/** The log of an app as it grows: pause, level, text; resumes behind the last line. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { stream, url } from '../../core/api.js';
import { A, setQuery } from '../../core/router.js';
import { features, holds, readsTrail } from '../../core/store.js';
import { Empty, ErrorBox, Head, icon } from '../../core/ui.js';
import { WithApp } from '../../parts/apppick.js';

const LEVELS = ['debug', 'info', 'warn', 'error', 'stdout', 'stderr', 'system', 'event'];
const KEPT = 5000;

export default function Logs({ parts: [appId], query }) {
  const fits = (app) => holds(app, 'core:logs.read');
  return html`<${WithApp} screen="logs" appId=${appId} fits=${fits}>
    ${(id, picker) => html`<${Screen} key=${id} appId=${id} picker=${picker} query=${query} />`}
  <//>`;
}

/** Read server-sent events and call `take` with those of each piece; resume where they broke off. */
async function follow(path, abort, take, say) {
  let last = '';
  for (let pause = 500; !abort.aborted; pause = Math.min(pause * 2, 8000)) {
    try {
      const body = await stream(`${path}?tail=500`, {
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
        if (lines.length) take(lines);
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

function Screen({ appId, picker, query }) {
  const [lines, setLines] = useState([]);
  const [state, say] = useState('opening');
  const [paused, pause] = useState(false);
  const box = useRef(null);
  const held = useRef([]);
  const stopped = useRef(false);
  stopped.current = paused;
  useEffect(() => {
    const abort = new AbortController();
    follow(
      url`/api/v1/apps/${appId}/logs`,
      abort.signal,
      (more) => {
        if (stopped.current) held.current.push(...more);
        else setLines((all) => [...all, ...more].slice(-KEPT));
      },
      say,
    );
    return () => abort.abort();
  }, [appId]);
  useEffect(() => {
    if (!paused && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, paused]);
  const resume = () => {
    setLines((all) => [...all, ...held.current.splice(0)].slice(-KEPT));
    pause(false);
  };
  const low = (query.q ?? '').toLowerCase();
  const from = query.at ? Date.parse(query.at) : 0;
  const shown = lines.filter(
    (l) =>
      (!query.level || l.level === query.level) &&
      (!low || l.message.toLowerCase().includes(low)) &&
      (!from || Date.parse(l.ts) >= from),
  );
  const error = state instanceof Error ? state : null;
  return html`<div class="logs">
    <${Head}
      title="Log"
      request=${{ method: 'GET', path: url`/api/v1/apps/${appId}/logs`, query: { tail: 500 } }}
    >
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
      <input
        type="datetime-local"
        aria-label="From this time"
        title="From this time"
        value=${query.at ?? ''}
        onChange=${(e) => setQuery({ at: e.target.value || null })}
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
        (l, i) => html`<div key=${l.id ?? i} class="ll ${l.level}">
          <time datetime=${l.ts}>${l.ts.slice(11, 23)}</time>
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
    </div>
  </div>`;
}
