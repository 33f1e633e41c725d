/** Plugins: what each provides, needs and costs; a page of each from what the kernel knows. */
import { html, useEffect, useRef, useState } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { A } from '../../core/router.js';
import { pages } from '../../core/store.js';
import { Ago, Empty, Head, Loaded, fail, openDialog, useLoad } from '../../core/ui.js';
import { Spark } from '../../parts/chart.js';
import { Markdown } from '../../parts/markdown.js';

const COLOURS = { on: 'good', off: '', degraded: 'bad' };
const ms = (n) => (n === null ? '–' : `${n} ms`);

export default function Plugins({ parts: [name] }) {
  const all = useLoad(() => get('/api/v1/plugins'), []);
  return html`<${Loaded} of=${all}>
    ${({ plugins, process }) => {
      if (!name) return html`<${List} plugins=${plugins} process=${process} />`;
      const plugin = plugins.find((p) => p.name === name);
      return plugin
        ? html`<${Detail} key=${name} plugin=${plugin} />`
        : html`<${Empty} title="There is no such plugin" glyph="plug" />`;
    }}
  <//>`;
}

function List({ plugins, process }) {
  const calls = (p) => p.hooks.reduce((sum, h) => sum + h.calls, 0);
  const slowest = (p) => Math.max(...p.hooks.map((h) => h.p99_ms ?? 0), 0);
  const errors = (p) =>
    p.hooks.reduce((sum, h) => sum + h.errors, 0) + p.tasks.reduce((sum, t) => sum + t.failures, 0);
  return html`<${Head}
      title="Plugins"
      sub=${`As process ${process} sees them. A plugin is switched on or off in the configuration: [plugins.<name>] enabled = false.`}
      request=${{ method: 'GET', path: '/api/v1/plugins' }}
    />
    <div class="scrollx">
      <table class="list">
        <thead>
          <tr>
            <th>Name</th>
            <th>State</th>
            <th>From</th>
            <th>Provides</th>
            <th class="num">Routes</th>
            <th class="num">Hook calls</th>
            <th class="num">Slowest p99</th>
            <th class="num">Errors</th>
          </tr>
        </thead>
        <tbody>
          ${plugins.map(
            (p) => html`<tr key=${p.name}>
              <td><${A} to=${['plugins', p.name]}><b>${p.name}</b><//></td>
              <td><span class="tag ${COLOURS[p.state]}">${p.state}</span></td>
              <td class="dim">${p.origin}</td>
              <td>${p.provides.join(', ')}</td>
              <td class="num">${p.routes.length || ''}</td>
              <td class="num">${calls(p) || ''}</td>
              <td class="num">${slowest(p) ? ms(slowest(p)) : ''}</td>
              <td class="num">
                ${errors(p) ? html`<span class="tag bad">${errors(p)}</span>` : ''}
              </td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

/** Calls of a plugin's hooks in each of the last five seconds, while the page is open. */
function useCalls(name) {
  const [seen, set] = useState([]);
  const last = useRef(null);
  useEffect(() => {
    const look = async () => {
      const { plugins } = await get('/api/v1/plugins').catch(() => ({ plugins: [] }));
      const now = plugins.find((p) => p.name === name)?.hooks.reduce((sum, h) => sum + h.calls, 0);
      if (now === undefined) return;
      if (last.current !== null) set((all) => [...all.slice(-29), now - last.current]);
      last.current = now;
    };
    look();
    const timer = setInterval(() => {
      if (!document.hidden) look();
    }, 5000);
    return () => clearInterval(timer);
  }, [name]);
  return seen;
}

function Detail({ plugin: p }) {
  const calls = useCalls(p.name);
  const manual = useLoad(() => get(url`/api/v1/console/manuals/${p.name}`), [p.name]);
  const own = pages.value.filter((page) => page.plugin === p.name);
  const list = (title, names) =>
    names.length > 0 &&
    html`<dt>${title}</dt><dd>${names.map((n) => html`<code key=${n}>${n}</code> `)}</dd>`;
  return html`<nav class="crumbs" aria-label="Where this is"><${A} to=${['plugins']}>Plugins<//></nav>
    <${Head}
      title=${p.name}
      sub=${html`${p.origin} · version ${p.version} · started in ${Math.round(p.boot_seconds * 1000)} ms`}
      request=${{ method: 'GET', path: url`/api/v1/console/manuals/${p.name}` }}
    >
      <span class="tag ${COLOURS[p.state]}">${p.state}</span>
    <//>
    ${[p.note, ...p.warnings].map((said) => said && html`<div class="notice warn">${said}</div>`)}
    <div class="split">
      <div class="stack">
        ${
          p.hooks.length > 0 &&
          html`<section>
            <div class="row">
              <h2 class="grow">Hooks</h2>
              ${calls.length > 1 && html`<small>${calls[calls.length - 1]} calls in 5 s</small>`}
              <${Spark} values=${calls} title="Calls in each five seconds" />
            </div>
            <div class="scrollx">
              <table class="list">
                <thead>
                  <tr>
                    <th>Hook</th>
                    <th class="num">Calls</th>
                    <th class="num">p50</th>
                    <th class="num">p99</th>
                    <th class="num">Refusals</th>
                    <th class="num">Errors</th>
                    <th>Last error</th>
                  </tr>
                </thead>
                <tbody>
                  ${p.hooks.map(
                    (h) => html`<tr key=${h.hook}>
                      <td class="nowrap"><code>${h.hook}</code></td>
                      <td class="num">${h.calls}</td>
                      <td class="num">${ms(h.p50_ms)}</td>
                      <td class="num">${ms(h.p99_ms)}</td>
                      <td class="num">${h.refusals || ''}</td>
                      <td class="num">${h.errors || ''}</td>
                      <td>
                        ${
                          h.last_error &&
                          html`${h.last_error.error} <${Ago} at=${h.last_error.time} />`
                        }
                      </td>
                    </tr>`,
                  )}
                </tbody>
              </table>
            </div>
          </section>`
        }
        ${
          p.routes.length > 0 &&
          html`<section>
            <h2>Routes</h2>
            <div class="scrollx">
              <table class="list">
                <thead><tr><th>Route</th><th>Needs</th></tr></thead>
                <tbody>
                  ${p.routes.map(
                    (r) => html`<tr key=${r.method + r.path}>
                      <td><code>${r.method} ${r.path}</code></td>
                      <td class="dim">${r.needs}</td>
                    </tr>`,
                  )}
                </tbody>
              </table>
            </div>
          </section>`
        }
        ${
          p.tasks.length > 0 &&
          html`<section>
            <h2>Background tasks</h2>
            <table class="list">
              <tbody>
                ${p.tasks.map(
                  (t) => html`<tr key=${t.name}>
                    <td>${t.name}</td>
                    <td><span class="tag ${t.failures ? 'bad' : ''}">${t.state}</span></td>
                    <td>${t.error}</td>
                  </tr>`,
                )}
              </tbody>
            </table>
          </section>`
        }
        ${
          manual.data?.text &&
          html`<section class="card"><${Markdown} text=${manual.data.text} /></section>`
        }
      </div>
      <aside class="stack">
        <section class="card">
          <h2>About</h2>
          <dl class="facts">
            ${list('Provides', p.provides)}
            ${list('Requires', p.requires)}
            ${list('Uses', p.uses)}
            ${list('Migrations', manual.data?.migrations ?? [])}
          </dl>
        </section>
        ${
          p.settings.length > 0 &&
          html`<section class="card">
            <h2>Settings</h2>
            <p class="dim">Of <code>[plugins.${p.name}]</code></p>
            <ul class="plain">
              ${p.settings.map(
                (s) => html`<li class="row" key=${s}>
                  <code class="grow">${s}</code>
                  ${
                    p.configured.includes(s)
                      ? html`<span class="tag info" title="Where the value comes from">
                          ${p.sources[s] || 'configured'}
                        </span>`
                      : html`<span class="dim">default</span>`
                  }
                </li>`,
              )}
            </ul>
          </section>`
        }
        <${Toggle} plugin=${p} />
        ${
          own.length > 0 &&
          html`<section class="card">
            <h2>Pages</h2>
            ${own.map(
              (page) => html`<div key=${page.id}>
                <${A} to=${['pages', page.plugin, page.id]}>${page.title}<//>
              </div>`,
            )}
          </section>`
        }
      </aside>
    </div>`;
}

/** What switching the plugin would do; the switch itself is a line of the configuration. */
function Toggle({ plugin }) {
  const on = plugin.state !== 'off';
  const ask = async () => {
    try {
      const change = { [on ? 'disable' : 'enable']: [plugin.name] };
      const plan = await post('/api/v1/plugins/plan', change);
      openDialog(({ close }) => html`<${Plan} plan=${plan} close=${close} />`, {
        label: 'Plan',
        wide: true,
      });
    } catch (error) {
      fail(error);
    }
  };
  return html`<section class="card stack">
    <h2>${on ? 'Switch it off' : 'Switch it on'}</h2>
    <pre>${`[plugins.${plugin.name}]\nenabled = ${!on}`}</pre>
    <div><button onClick=${ask}>Show what would change</button></div>
  </section>`;
}

const WORDS = { removed: 'bad', added: 'good', created: 'good', warn: 'warn', reason: 'bad' };

function Plan({ plan, close }) {
  return html`<h2>${plan.starts ? 'The server would start' : 'The server would not start'}</h2>
    <ul class="plain plan">
      ${plan.lines.map((line) => {
        const [, word, rest] = /^(\w+) {2,}(.*)/.exec(line) ?? [null, null, line];
        return html`<li key=${line}>
          ${word && html`<span class="tag ${WORDS[word] ?? ''}">${word}</span> `}${rest}
        </li>`;
      })}
    </ul>
    <div class="actions"><button autofocus onClick=${() => close()}>Close</button></div>`;
}
