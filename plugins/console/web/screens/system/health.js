/** How the server is: database, pool, subsystems; the state of each by what it reports. */
import { html, useEffect } from '../../core/kit.js';
import { get, reached } from '../../core/api.js';
import { features, words } from '../../core/store.js';
import { Ago, Head, Loaded, icon, useLoad } from '../../core/ui.js';

const COLOURS = { Online: 'good', Offline: '', Starting: 'info', Stopping: 'warn', Error: 'bad' };

export default function Health() {
  const status = useLoad(() => get('/api/v1/status'), []);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) status.reload();
    }, 5000);
    return () => clearInterval(timer);
  }, []);
  return html`<${Head}
      title="Health"
      sub="Asked every five seconds."
      request=${{ method: 'GET', path: '/api/v1/status' }}
    >
      ${
        features.value.has('openapi') &&
        html`<a class="button" href=${reached('/api/v1/docs')} target="_blank" rel="noopener">
          ${icon('book')}API
        </a>`
      }
    <//>
    <${Loaded} of=${status}>
      ${(all) => html`<div class="cards">
        ${Object.entries(all)
          .filter(([name, s]) => name !== 'forge' || s.state !== 'Offline')
          .map(
            ([name, { state, ...detail }]) => html`<section class="card" key=${name}>
              <div class="row">
                <h2 class="grow">${words(name)}</h2>
                <span class="tag ${COLOURS[state] ?? ''}">${state}</span>
              </div>
              <dl class="facts">
                ${Object.entries(detail)
                  .filter(([k, v]) => v !== null || k === 'last')
                  .map(
                    ([
                      k,
                      v,
                    ]) => html`<dt key=${k}>${k === 'last' ? 'last made' : k.replaceAll('_', ' ')}</dt>
                    <dd><${Fact} name=${k} value=${v} /></dd>`,
                  )}
              </dl>
            </section>`,
          )}
      </div>`}
    <//>`;
}

/** A fact in words: times as ages, bytes of the disk in gigabytes. */
function Fact({ name, value }) {
  if (name === 'last') return html`<${Ago} at=${value} />`;
  if (['free', 'size'].includes(name) && value > 1e6) return `${(value / 1e9).toFixed(1)} GB`;
  if (typeof value !== 'object') return String(value);
  const known = Object.entries(value).filter(([, v]) => v !== null);
  return known.map(([k, v]) => `${k.replaceAll('_', ' ')} ${v}`).join(', ');
}
