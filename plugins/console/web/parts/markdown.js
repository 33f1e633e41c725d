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

/** Code, bold, and links; only links to the web lead away. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/).map((part) => {
    if (part[0] === '`' && part.length > 1) return html`<code>${part.slice(1, -1)}</code>`;
    if (part.startsWith('**')) return html`<b>${part.slice(2, -2)}</b>`;
    const link = /^\[([^\]]+)\]\(([^)\s]+)\)$/.exec(part);
    if (!link) return part;
    return /^https?:/.test(link[2])
      ? html`<a href=${link[2]} rel="noopener noreferrer" target="_blank">${link[1]}</a>`
      : html`<span>${link[1].replaceAll('`', '')}</span>`;
  });
}
