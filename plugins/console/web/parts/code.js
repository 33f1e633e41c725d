/** "Copy as": the request behind a screen, to use in a shell or a program. */
import { html, useState } from '../core/kit.js';
import { formatQuery, resolvePath } from '../core/api.js';
import { openDialog } from '../core/dialogs.js';
import { Digits, stringify } from '../core/json.js';
import { copy } from '../core/screen.js';
import { icon } from '../core/ui.js';

/** A text of several lines in JavaScript. */
const quoteTemplate = (text) => `\`${text.replace(/[`\\$]/g, '\\$&')}\``;
/** A text in a shell. */
const quoteShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
/** The marks of JSON are those of Python and JavaScript, too. */
const quote = JSON.stringify;

const CONSTANTS = new Map([
  [null, 'None'],
  [true, 'True'],
  [false, 'False'],
]);

/** A value of JSON as Python writes it. */
function writePython(value, pad = '') {
  if (CONSTANTS.has(value)) return CONSTANTS.get(value);
  if (Array.isArray(value)) return `[${value.map((item) => writePython(item, pad)).join(', ')}]`;
  if (typeof value !== 'object' || value instanceof Digits) return stringify(value);
  const inner = `${pad}    `;
  const lines = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([name, member]) => `${inner}${quote(name)}: ${writePython(member, inner)},`);
  return lines.length ? `{\n${lines.join('\n')}\n${pad}}` : '{}';
}

/** @param {{method: string, path: string, query?: object, body?: any}} request */
export function writeCodes({ method, path, query, body }) {
  const address = location.origin + resolvePath(path) + formatQuery(query);
  return {
    curl: writeCurl(method, address, body),
    Python: writeHttpx(method, address, body),
    TypeScript: writeFetch(method, address, body),
  };
}

function writeCurl(method, address, body) {
  const option = method === 'GET' ? '' : `-X ${method} `;
  const parts = [`curl ${option}${quoteShell(address)}`, `-H "Authorization: Bearer $TOKEN"`];
  if (body) {
    parts.push(`-H 'Content-Type: application/json'`);
    parts.push(`-d ${quoteShell(stringify(body, 2))}`);
  }
  return parts.join(' \\\n  ');
}

function writeHttpx(method, address, body) {
  const lines = [
    'import os, httpx',
    '',
    'reply = httpx.request(',
    `    ${quote(method)}, ${quote(address)},`,
    `    headers={"Authorization": f"Bearer {os.environ['TOKEN']}"},`,
  ];
  if (body) lines.push(`    json=${writePython(body, '    ')},`);
  lines.push(')', 'reply.raise_for_status()', 'print(reply.json())');
  return lines.join('\n');
}

function writeFetch(method, address, body) {
  const headers = ['Authorization: `Bearer ${process.env.TOKEN}`'];
  if (body) headers.push(`'Content-Type': 'application/json'`);
  const lines = [
    `const reply = await fetch(${quote(address)}, {`,
    `  method: ${quote(method)},`,
    `  headers: { ${headers.join(', ')} },`,
  ];
  if (body) lines.push(`  body: ${writeFetchBody(body)},`);
  lines.push(
    '});',
    'if (!reply.ok) throw new Error((await reply.json()).error);',
    'console.log(await reply.json());',
  );
  return lines.join('\n');
}

/** A number that JavaScript would round is sent in a text. */
function writeFetchBody(body) {
  const json = stringify(body, 2);
  const isExact = json === JSON.stringify(JSON.parse(json), null, 2);
  return isExact ? `JSON.stringify(${json.replaceAll('\n', '\n  ')})` : quoteTemplate(json);
}

function Code({ request, close }) {
  const [shownKind, setKind] = useState('curl');
  const codes = writeCodes(request);
  const text = codes[shownKind];
  return html`<h2>This screen as code</h2>
    <div class="tabs" role="tablist">
      ${Object.keys(codes).map(
        (kind) => html`<button
          key=${kind}
          role="tab"
          aria-selected=${kind === shownKind}
          onClick=${() => setKind(kind)}
        >
          ${kind}
        </button>`,
      )}
    </div>
    <pre tabindex="0">${text}</pre>
    <div class="actions">
      <button onClick=${() => close()}>Close</button>
      <button class="primary" autofocus onClick=${() => copy(text)}>
        ${icon('copy')}Copy
      </button>
    </div>`;
}

/** Show a request as code. */
export function openCode(request) {
  const content = ({ close }) => html`<${Code} request=${request} close=${close} />`;
  openDialog(content, { label: 'Copy as', wide: true });
}
