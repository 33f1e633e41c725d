/** "Copy as": the request behind a screen, to use in a shell or a program. */
import { html, useState } from '../core/kit.js';
import { stringify } from '../core/json.js';
import { copy, icon, openDialog } from '../core/ui.js';
import { queryText, reached } from '../core/api.js';

/** A text of several lines in JavaScript. */
const textOf = (text) => `\`${text.replace(/[`\\$]/g, '\\$&')}\``;
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function python(value, pad = '') {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) return `[${value.map((v) => python(v, pad)).join(', ')}]`;
  if (typeof value === 'object' && !('text' in value && Object.keys(value).length === 1)) {
    const inner = `${pad}    `;
    const lines = Object.entries(value).map(
      ([k, v]) => `${inner}${JSON.stringify(k)}: ${python(v, inner)},`,
    );
    return lines.length ? `{\n${lines.join('\n')}\n${pad}}` : '{}';
  }
  return stringify(value);
}

/** @param {{method: string, path: string, query?: object, body?: any}} request */
export function codes({ method, path, query, body }) {
  const address = location.origin + reached(path) + queryText(query);
  const kept = body && JSON.parse(JSON.stringify(body, (_, v) => v)); // without what is undefined
  const json = kept ? stringify(kept, 2) : '';
  const curl = [
    `curl ${method === 'GET' ? '' : `-X ${method} `}${quote(address)}`,
    `-H "Authorization: Bearer $TOKEN"`,
    ...(kept ? [`-H 'Content-Type: application/json'`, `-d ${quote(json)}`] : []),
  ].join(' \\\n  ');
  const py = [
    'import os, httpx',
    '',
    'reply = httpx.request(',
    `    ${JSON.stringify(method)}, ${JSON.stringify(address)},`,
    `    headers={"Authorization": f"Bearer {os.environ['TOKEN']}"},`,
    ...(kept ? [`    json=${python(kept, '    ')},`] : []),
    ')',
    'reply.raise_for_status()',
    'print(reply.json())',
  ].join('\n');
  // A number that JavaScript would round is sent in a text.
  const exact = json && json === JSON.stringify(JSON.parse(json), null, 2);
  const headers = `Authorization: \`Bearer \${process.env.TOKEN}\``;
  const ts = [
    `const reply = await fetch(${JSON.stringify(address)}, {`,
    `  method: ${JSON.stringify(method)},`,
    `  headers: { ${headers}${kept ? `, 'Content-Type': 'application/json'` : ''} },`,
    ...(kept
      ? [`  body: ${exact ? `JSON.stringify(${json.replaceAll('\n', '\n  ')})` : textOf(json)},`]
      : []),
    '});',
    'if (!reply.ok) throw new Error((await reply.json()).error);',
    'console.log(await reply.json());',
  ].join('\n');
  return { curl, Python: py, TypeScript: ts };
}

function Code({ request, close }) {
  const [kind, choose] = useState('curl');
  const all = codes(request);
  return html`<h2>This screen as code</h2>
    <div class="tabs" role="tablist">
      ${Object.keys(all).map(
        (name) => html`<button
          key=${name}
          role="tab"
          aria-selected=${name === kind}
          onClick=${() => choose(name)}
        >
          ${name}
        </button>`,
      )}
    </div>
    <pre tabindex="0">${all[kind]}</pre>
    <div class="actions">
      <button onClick=${() => close()}>Close</button>
      <button class="primary" autofocus onClick=${() => copy(all[kind])}>
        ${icon('copy')}Copy
      </button>
    </div>`;
}

/** Show a request as code. */
export const openCode = (request) =>
  openDialog(({ close }) => html`<${Code} request=${request} close=${close} />`, {
    label: 'Copy as',
    wide: true,
  });
