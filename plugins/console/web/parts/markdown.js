/** Markdown as elements: headings, lists, tables, code, links. HTML in it is shown, never run. */
import { h, html } from '../core/kit.js';

const COMMENT = /<!--[\s\S]*?-->/g;
const FENCE = /^```/;
const HEADING = /^(#{1,5}) (.*)/;
const ROW = /^\s*\|/;
const ITEM = /^\s*([-*]|\d+\.) /;
const NEXT_ITEM = /\n(?=\s*(?:[-*]|\d+\.) )/;
const DEEPEST = 4;

export function Markdown({ text }) {
  const lines = new Lines(text.replace(COMMENT, '').split('\n'));
  const blocks = [];
  while (lines.current !== undefined) blocks.push(readBlock(lines));
  return html`<div class="md">${blocks}</div>`;
}

/** The lines of a text, taken from its start. */
class Lines {
  /** @param {string[]} lines */
  constructor(lines) {
    this.lines = lines;
    this.at = 0;
  }

  /** The next line; undefined at the end. */
  get current() {
    return this.lines[this.at];
  }

  skip() {
    this.at += 1;
  }

  /** Take lines as long as they belong together; `goesOn` says of one whether it does. */
  take(goesOn) {
    const start = this.at;
    while (this.current !== undefined && goesOn(this.current)) this.skip();
    return this.lines.slice(start, this.at);
  }
}

/** The heading, list, table, code or paragraph that begins here; null for an empty line. */
function readBlock(lines) {
  const line = lines.current;
  const heading = HEADING.exec(line);
  if (heading) {
    lines.skip();
    const level = Math.min(DEEPEST, heading[1].length + 1);
    return h(`h${level}`, null, readInline(heading[2]));
  }
  if (FENCE.test(line)) return readCode(lines);
  if (ROW.test(line)) return html`<${Table} lines=${lines.take((next) => ROW.test(next))} />`;
  if (ITEM.test(line)) return readList(lines);
  if (!line.trim()) {
    lines.skip();
    return null;
  }
  const paragraph = lines.take((next) => next.trim() !== '' && !/^(#|```|\s*\|)/.test(next));
  // A line that begins no block after all, as one with six `#`.
  if (!paragraph.length) {
    lines.skip();
    paragraph.push(line);
  }
  return html`<p>${readInline(paragraph.join(' '))}</p>`;
}

function readCode(lines) {
  lines.skip();
  const code = lines.take((line) => !FENCE.test(line));
  lines.skip();
  return html`<pre tabindex="0">${code.join('\n')}</pre>`;
}

function readList(lines) {
  const text = lines.take((line) => line.trim() !== '' && !line.startsWith('#')).join('\n');
  const items = text.split(NEXT_ITEM).map((item) => item.replace(ITEM, '').replaceAll('\n', ' '));
  return html`<ul>
    ${items.map((item) => html`<li>${readInline(item)}</li>`)}
  </ul>`;
}

function Table({ lines }) {
  const isRule = (line) => /^[\s|:-]+$/.test(line);
  const [head, ...rows] = lines.filter((line) => !isRule(line)).map(splitRow);
  return html`<div class="scrollx">
    <table class="list">
      <thead>
        <tr>${head.map((cell) => html`<th>${readInline(cell)}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${readInline(cell)}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;
}

function splitRow(line) {
  const inner = line.trim().replace(/^\||\|$/g, '');
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

/** Names of this machine, as URL writes them: 127.1, 2130706433 and 0x7f.1 are 127.0.0.1. */
const LOCAL =
  /^((.+\.)?localhost|127\.[\d.]+|0\.0\.0\.0|\[::1?\]|\[::ffff:(7f[\da-f]{2}:[\da-f]+|0:0)\])$/;
const dropDots = (host) => host.replace(/\.+$/, '');

/**
 * Return the address of a link to another host, else null. An app's worker, or any account of this
 * machine, may listen on a port of it: a click must not lead there.
 * @param {string} text
 */
export function resolveOutside(text) {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  const isWeb = url.protocol === 'https:' || url.protocol === 'http:';
  if (!isWeb || url.username || url.password) return null;
  const host = dropDots(url.hostname);
  const isHere = host === dropDots(location.hostname) || LOCAL.test(host);
  return isHere ? null : url.href;
}

/** A link shows where it leads, beside what its author calls it. */
function Link({ name, address }) {
  const href = resolveOutside(address);
  if (!href) return html`<span>${name.replaceAll('`', '')}</span>`;
  const shownAddress = name !== href && html` <span class="dim">(${href})</span>`;
  return html`<a href=${href} rel="noopener noreferrer" target="_blank">${name}</a>${shownAddress}`;
}

/** Code, bold, and links. */
function readInline(text) {
  const parts = text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/);
  return parts.map((part) => {
    if (part[0] === '`' && part.length > 1) return html`<code>${part.slice(1, -1)}</code>`;
    if (part.startsWith('**')) return html`<b>${part.slice(2, -2)}</b>`;
    const link = /^\[([^\]]+)\]\(([^)\s]+)\)$/.exec(part);
    if (!link) return part;
    const [, name, address] = link;
    return html`<${Link} name=${name} address=${address} />`;
  });
}
