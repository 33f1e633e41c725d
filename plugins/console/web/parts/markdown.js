/** Markdown as elements: headings, lists, tables, code, links. HTML in it is shown, never run. */
import { h, html } from '../core/kit.js';

export function Markdown({ text }) {
  const out = [];
  const lines = text.replace(/<!--[\s\S]*?-->/g, '').split('\n');
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines[i];
    const take = (more) => {
      const found = [];
      while (i < lines.length && more(lines[i])) found.push(lines[i++]);
      i -= 1;
      return found;
    };
    const heading = /^(#{1,5}) (.*)/.exec(line);
    if (/^```/.test(line)) {
      i += 1;
      const code = take((l) => !/^```/.test(l));
      i += 1;
      out.push(html`<pre tabindex="0">${code.join('\n')}</pre>`);
    } else if (heading)
      out.push(h(`h${Math.min(4, heading[1].length + 1)}`, null, inline(heading[2])));
    else if (/^\s*\|/.test(line)) out.push(table(take((l) => /^\s*\|/.test(l))));
    else if (/^\s*([-*]|\d+\.) /.test(line)) {
      const items = take((l) => l.trim() !== '' && !/^#/.test(l))
        .join('\n')
        .split(/\n(?=\s*(?:[-*]|\d+\.) )/);
      out.push(html`<ul>
        ${items.map(
          (t) => html`<li>${inline(t.replace(/^\s*([-*]|\d+\.) /, '').replaceAll('\n', ' '))}</li>`,
        )}
      </ul>`);
    } else if (line.trim())
      out.push(html`<p>
        ${inline(take((l) => l.trim() !== '' && !/^(#|```|\s*\|)/.test(l)).join(' '))}
      </p>`);
  }
  return html`<div class="md">${out}</div>`;
}

function table(lines) {
  const rows = lines
    .filter((l) => !/^[\s|:-]+$/.test(l))
    .map((l) =>
      l
        .trim()
        .replace(/^\||\|$/g, '')
        .split(/(?<!\\)\|/)
        .map((c) => c.trim().replaceAll('\\|', '|')),
    );
  return html`<div class="scrollx">
    <table class="list">
      <thead><tr>${rows[0].map((c) => html`<th>${inline(c)}</th>`)}</tr></thead>
      <tbody>
        ${rows.slice(1).map((r) => html`<tr>${r.map((c) => html`<td>${inline(c)}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;
}

/** Names of this machine, as URL writes them: 127.1, 2130706433 and 0x7f.1 are 127.0.0.1. */
const LOCAL =
  /^((.+\.)?localhost|127\.[\d.]+|0\.0\.0\.0|\[::1?\]|\[::ffff:(7f[\da-f]{2}:[\da-f]+|0:0)\])$/;
const withoutDots = (host) => host.replace(/\.+$/, '');

/**
 * Return the address of a link to another host, else null. An app's worker, or any account of this
 * machine, may listen on a port of it: a click must not lead there.
 * @param {string} text
 */
export function outside(text) {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  const host = withoutDots(url.hostname);
  const web = url.protocol === 'https:' || url.protocol === 'http:';
  if (!web || url.username || url.password) return null;
  return host === withoutDots(location.hostname) || LOCAL.test(host) ? null : url.href;
}

/** A link shows where it leads, beside what its author calls it. */
function linked(name, address) {
  const href = outside(address);
  if (!href) return html`<span>${name.replaceAll('`', '')}</span>`;
  return html`<a href=${href} rel="noopener noreferrer" target="_blank">${name}</a>${
    name !== href && html` <span class="dim">(${href})</span>`
  }`;
}

/** Code, bold, and links. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/).map((part) => {
    if (part[0] === '`' && part.length > 1) return html`<code>${part.slice(1, -1)}</code>`;
    if (part.startsWith('**')) return html`<b>${part.slice(2, -2)}</b>`;
    const link = /^\[([^\]]+)\]\(([^)\s]+)\)$/.exec(part);
    return link ? linked(link[1], link[2]) : part;
  });
}
