/** How the server is: database, pool, subsystems; the state of each by what it reports. */
import { html, useEffect } from '../../core/kit.js';
import { get } from '../../core/api.js';
import { features } from '../../core/store.js';
import { Head, Loaded, icon, useLoad } from '../../core/ui.js';
import { CopyAs } from '../../parts/code.js';
import { pretty } from '../../core/json.js';

const COLOURS = { Online: 'good', Offline: '', Starting: 'info', Stopping: 'warn', Error: 'bad' };

export default function Health() {
  const status = useLoad(() => get('/api/v1/status'), []);
  useEffect(() => { const timer = setInterval(() => { if (!document.hidden) status.reload(); }, 5000); return () => clearInterval(timer); }, []);
  return html`<${Head} title="Health" sub="Asked every five seconds.">${features.value.has('openapi') && html`<a class="button" href="/api/v1/docs" target="_blank" rel="noopener">${icon('book')}API</a>`}<${CopyAs} request=${{ method: 'GET', path: '/api/v1/status' }} /><//>
    <${Loaded} of=${status}>${(all) => html`<div class="cards">${Object.entries(all).filter(([name, s]) => name !== 'forge' || s.state !== 'Offline').map(([name, { state, ...detail }]) => html`<section class="card" key=${name}><div class="row"><h2 class="grow">${name.replaceAll('_', ' ')}</h2><span class="tag ${COLOURS[state] ?? ''}">${state}</span></div>
      <dl class="facts">${Object.entries(detail).filter(([, v]) => v !== null).map(([k, v]) => html`<dt key=${k}>${k.replaceAll('_', ' ')}</dt><dd>${typeof v === 'object' ? html`<code>${pretty(v, '', 40)}</code>` : String(v)}</dd>`)}</dl></section>`)}</div>`}<//>`;
}
