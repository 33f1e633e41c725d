/** The installs of an app: what each changed in the manifest, the way back, and what is retired. */
import { html } from '../../core/kit.js';
import { get, post, url } from '../../core/api.js';
import { confirm } from '../../core/dialogs.js';
import { formatJson } from '../../core/json.js';
import { A } from '../../core/router.js';
import { Ago, Listing } from '../../core/screen.js';
import { loadUsers, nameAccounts } from '../../core/store.js';
import { Loaded, attempt, toast, useLoad } from '../../core/ui.js';

/** Lines that are shown around a changed one. */
const AROUND = 3;
const TAGS = { '+': 'ins', '-': 'del', ' ': 'span' };

export function Installs({ id, stamp }) {
  const path = url`/api/v1/apps/${id}/manifests`;
  const steps = url`/api/v1/apps/${id}/manifest/history`;
  const loaded = useLoad(async () => {
    const [installs, accounts] = await Promise.all([get(steps), loadUsers()]);
    return { installs, names: nameAccounts(accounts) };
  }, [id]);
  return html`<${Loaded} of=${loaded}>
    ${({ installs, names }) => {
      const index = installs.findIndex((install) => String(install.stamp) === stamp);
      const at = Math.max(0, index);
      return html`<div class="split">
        <${Change}
          path=${path}
          install=${installs[at]}
          before=${installs[at + 1]}
          id=${id}
          isNewest=${at === 0}
          done=${loaded.reload}
        />
        <aside>
          <ol class="plain history">
            ${installs.map(
              (install) => html`<li key=${install.stamp}>
                <${A}
                  to=${['apps', id, 'history']}
                  query=${{ stamp: install.stamp }}
                  aria-current=${install === installs[at] ? 'true' : undefined}
                >
                  Version ${install.version}
                <//>
                <div class="dim">
                  ${names[install.by] ?? 'The server'}, <${Ago} at=${install.at} />
                </div>
                <div class="dim">${nameSource(install)}</div>
              </li>`,
            )}
          </ol>
        </aside>
      </div>`;
    }}
  <//>`;
}

const SOURCES = { edit: 'by the builder', undo: 'taken back', deploy: 'from a folder' };

/** What installed a version, and how much that changed. */
function nameSource({ via, changes }) {
  const count = changes.length === 1 ? '1 change' : `${changes.length} changes`;
  return `${SOURCES[via] ?? 'as a whole'}, ${count}`;
}

function Change({ path, install, before, id, isNewest, done }) {
  const goBack = async () => {
    const { openUndo } = await import('../builder/steps.js');
    if (await openUndo(id, install.stamp)) done();
  };
  const readText = async (stored) => {
    if (!stored) return '';
    return formatJson(await get(`${path}/${stored.stamp}`));
  };
  const texts = useLoad(() => Promise.all([before, install].map(readText)), [install.stamp]);
  const title = before ? `What version ${install.version} changed` : 'The first install';
  return html`<section class="stack">
    <div class="row">
      <h2 class="grow">${title}</h2>
      ${
        !isNewest &&
        html`<${A} class="button" to=${['apps', id, 'manifest']} query=${{ stamp: install.stamp }}>
          Open it in the editor
        <//>`
      }
      ${!isNewest && html`<button onClick=${goBack}>Go back to it…</button>`}
    </div>
    <${Loaded} of=${texts}>
      ${([oldText, newText]) => html`<${Lines} lines=${compareLines(oldText, newText)} />`}
    <//>
  </section>`;
}

/** Changed lines with some around them. */
export function Lines({ lines }) {
  const isNear = (number) => {
    const around = lines.slice(Math.max(0, number - AROUND), number + AROUND + 1);
    return around.some(([kind]) => kind !== ' ');
  };
  const shown = lines
    .map(([kind, text], number) => ({ kind, text, number }))
    .filter(({ number }) => isNear(number));
  if (!shown.length) return html`<p class="dim">The manifest is the same.</p>`;
  return html`<pre class="lines" tabindex="0">
    ${shown.map(({ kind, text, number }, index) => {
      const hasGap = index > 0 && shown[index - 1].number !== number - 1;
      const line = `${kind} ${text}\n`;
      return html`${hasGap && html`<i>…${'\n'}</i>`}<${TAGS[kind]}>${line}<//>`;
    })}</pre>`;
}

// --- tables and columns that the manifest no longer names: kept until they are dropped here

export function Retired({ id }) {
  const path = url`/api/v1/apps/${id}/schema/prune`;
  const retired = useLoad(() => post(path, { dryRun: true }), [id]);
  const drop = async (item) => {
    const place = item.column ? `${item.entity}.${item.column}` : item.entity;
    const text = `${item.rows} rows have a value in it. This cannot be undone.`;
    const isSure = await confirm(`Drop ${place} for good?`, text, { yes: 'Drop', typed: place });
    if (!isSure) return;
    await attempt(async () => {
      await post(path, { entity: item.entity, column: item.column ?? undefined });
      toast(`${place} was dropped.`);
      retired.reload();
    });
  };
  return html`<p class="dim">
      What a manifest no longer names is hidden and kept: it comes back with its data when a
      manifest names it again.
    </p>
    <${Loaded} of=${retired}>
      ${({ dropped }) =>
        dropped.length
          ? html`<${List} items=${dropped} drop=${drop} />`
          : html`<p>Nothing is retired.</p>`}
    <//>`;
}

const List = ({
  items,
  drop,
}) => html`<${Listing} heads=${['Table', 'Column', ['Rows with a value', 'num'], '']}>
  ${items.map(
    (item) => html`<tr key=${item.entity + item.column}>
      <td>${item.entity}</td>
      <td>${item.column ?? html`<span class="dim">whole table</span>`}</td>
      <td class="num">${item.rows}</td>
      <td class="right">
        <button class="small" onClick=${() => drop(item)}>Drop…</button>
      </td>
    </tr>`,
  )}
<//>`;

/** Cells of the table of lengths that are filled at most; larger parts are shown as replaced. */
const MOST_CELLS = 4e6;

/** @param {string} before @param {string} after @returns {['+'|'-'|' ', string][]} */
export function compareLines(before, after) {
  const oldLines = split(before);
  const newLines = split(after);
  const shorter = Math.min(oldLines.length, newLines.length);
  let start = 0;
  while (start < shorter && oldLines[start] === newLines[start]) start += 1;
  let end = 0;
  while (end < shorter - start && oldLines.at(-1 - end) === newLines.at(-1 - end)) end += 1;
  const oldEnd = oldLines.length - end;
  const middle = compare(
    oldLines.slice(start, oldEnd),
    newLines.slice(start, newLines.length - end),
  );
  return [...mark(' ', oldLines.slice(0, start)), ...middle, ...mark(' ', oldLines.slice(oldEnd))];
}

const split = (text) => (text ? text.split('\n') : []);
const mark = (kind, lines) => lines.map((line) => [kind, line]);

/** Lines that were removed, were added, or stay. */
function compare(oldLines, newLines) {
  if (oldLines.length * newLines.length > MOST_CELLS)
    return [...mark('-', oldLines), ...mark('+', newLines)];
  const lengths = measure(oldLines, newLines);
  const changes = [];
  let i = 0;
  let j = 0;
  while (i < oldLines.length && j < newLines.length) {
    if (oldLines[i] === newLines[j]) {
      changes.push([' ', oldLines[i]]);
      i += 1;
      j += 1;
    } else if (lengths[i + 1][j] >= lengths[i][j + 1]) {
      changes.push(['-', oldLines[i]]);
      i += 1;
    } else {
      changes.push(['+', newLines[j]]);
      j += 1;
    }
  }
  return [...changes, ...mark('-', oldLines.slice(i)), ...mark('+', newLines.slice(j))];
}

/** The table of lengths of common subsequences, read from its end (Wagner and Fischer, 1974). */
function measure(oldLines, newLines) {
  const width = newLines.length + 1;
  const lengths = Array.from({ length: oldLines.length + 1 }, () => new Uint16Array(width));
  for (let i = oldLines.length - 1; i >= 0; i -= 1) {
    for (let j = newLines.length - 1; j >= 0; j -= 1) {
      const isSame = oldLines[i] === newLines[j];
      const longer = Math.max(lengths[i + 1][j], lengths[i][j + 1]);
      lengths[i][j] = isSame ? lengths[i + 1][j + 1] + 1 : longer;
    }
  }
  return lengths;
}
