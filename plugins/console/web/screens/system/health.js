/** How the server is: database, pool, subsystems; the state of each by what it reports. */
import { html } from '../../core/kit.js';
import { get, resolvePath } from '../../core/api.js';
import { Ago, Head, useEvery } from '../../core/screen.js';
import { features, toWords } from '../../core/store.js';
import { Loaded, icon, useLoad } from '../../core/ui.js';

const COLOURS = { Online: 'good', Offline: '', Starting: 'info', Stopping: 'warn', Error: 'bad' };
const PAUSE = 5000;
/** Facts that are bytes of a disk. */
const BYTES = ['free', 'size'];
const MEGABYTE = 1e6;
const GIGABYTE = 1e9;

export default function Health() {
  const status = useLoad(() => get('/api/v1/status'), []);
  useEvery(PAUSE, status.reload, []);
  const isShown = ([name, { state }]) => name !== 'forge' || state !== 'Offline';
  return html`<${Head}
      title="Health"
      sub="Asked every five seconds."
      request=${{ method: 'GET', path: '/api/v1/status' }}
    >
      ${features.value.has('openapi') && html`<${ApiLink} />`}
    <//>
    <${Loaded} of=${status}>
      ${(services) => html`<div class="cards">
        ${Object.entries(services)
          .filter(isShown)
          .map(
            ([name, service]) => html`<${Service} key=${name} name=${name} service=${service} />`,
          )}
      </div>`}
    <//>`;
}

const ApiLink = () => html`<a
  class="button"
  href=${resolvePath('/api/v1/docs')}
  target="_blank"
  rel="noopener"
>
  ${icon('book')}API
</a>`;

function Service({ name, service: { state, ...facts } }) {
  // A backup that was never made is a fact, too.
  const isTold = ([fact, value]) => value !== null || fact === 'last';
  const shown = Object.entries(facts).filter(isTold);
  return html`<section class="card">
    <div class="row">
      <h2 class="grow">${toWords(name)}</h2>
      <span class="tag ${COLOURS[state] ?? ''}">${state}</span>
    </div>
    <dl class="facts">
      ${shown.map(
        ([fact, value]) => html`<dt key=${fact}>${nameFact(fact)}</dt>
          <dd><${Fact} name=${fact} value=${value} /></dd>`,
      )}
    </dl>
  </section>`;
}

const nameFact = (name) => (name === 'last' ? 'last made' : name.replaceAll('_', ' '));

/** A fact in words: times as ages, bytes of the disk in gigabytes. */
function Fact({ name, value }) {
  if (name === 'last') return html`<${Ago} at=${value} />`;
  const isBytes = BYTES.includes(name) && value > MEGABYTE;
  if (isBytes) return `${(value / GIGABYTE).toFixed(1)} GB`;
  if (typeof value !== 'object') return String(value);
  return Object.entries(value)
    .filter(([, part]) => part !== null)
    .map(([part, text]) => `${part.replaceAll('_', ' ')} ${text}`)
    .join(', ');
}
