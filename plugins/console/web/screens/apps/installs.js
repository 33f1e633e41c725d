/** The installs of an app: what each changed in the manifest, and the way back. */
import { html } from '../../core/kit.js';
import { get, url } from '../../core/api.js';
import { formatJson } from '../../core/json.js';
import { A } from '../../core/router.js';
import { loadUsers, nameAccounts } from '../../core/store.js';
import { Ago } from '../../core/times.js';
import { Loaded, useLoad } from '../../core/ui.js';
import { compareLines } from '../../parts/linediff.js';

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
