/** The installs of an app: what each changed in the manifest, and the way back. */
import { html } from '../../core/kit.js';
import { get, url } from '../../core/api.js';
import { pretty } from '../../core/json.js';
import { A } from '../../core/router.js';
import { users } from '../../core/store.js';
import { Ago, Loaded, useLoad } from '../../core/ui.js';
import { lineDiff } from '../../parts/linediff.js';

export function Installs({ id, stamp }) {
  const path = url`/api/v1/apps/${id}/manifests`;
  const found = useLoad(async () => {
    const [installs, people] = await Promise.all([get(path), users()]);
    const names = Object.fromEntries(people.map((u) => [u.id, u.display_name || u.username]));
    return { installs, names };
  }, [id]);
  return html`<${Loaded} of=${found}>
    ${({ installs, names }) => {
      const at = Math.max(
        0,
        installs.findIndex((each) => String(each.stamp) === stamp),
      );
      return html`<div class="split">
        <${Change} path=${path} now=${installs[at]} before=${installs[at + 1]} id=${id} newest=${!at} />
        <aside>
          <ol class="plain history">
            ${installs.map(
              (each, i) => html`<li key=${each.stamp}>
                <${A}
                  to=${['apps', id, 'history']}
                  query=${{ stamp: each.stamp }}
                  aria-current=${i === at ? 'true' : undefined}
                >
                  Version ${each.version}
                <//>
                <div class="dim">${names[each.by] ?? 'The server'}, <${Ago} at=${each.at} /></div>
              </li>`,
            )}
          </ol>
        </aside>
      </div>`;
    }}
  <//>`;
}

function Change({ path, now, before, id, newest }) {
  const texts = useLoad(
    () =>
      Promise.all(
        [before, now].map(async (each) => (each ? pretty(await get(`${path}/${each.stamp}`)) : '')),
      ),
    [now.stamp],
  );
  return html`<section class="stack">
    <div class="row">
      <h2 class="grow">${before ? `What version ${now.version} changed` : 'The first install'}</h2>
      ${
        !newest &&
        html`<${A} class="button" to=${['apps', id, 'manifest']} query=${{ stamp: now.stamp }}>
          Open it in the editor
        <//>`
      }
    </div>
    <${Loaded} of=${texts}>${([old, text]) => html`<${Lines} lines=${lineDiff(old, text)} />`}<//>
  </section>`;
}

/** Changed lines with three around them. */
function Lines({ lines }) {
  const near = (i) => lines.slice(Math.max(0, i - 3), i + 4).some(([kind]) => kind !== ' ');
  const shown = lines.map((line, i) => [...line, i]).filter(([, , i]) => near(i));
  if (!shown.length) return html`<p class="dim">The manifest is the same.</p>`;
  return html`<pre class="lines" tabindex="0">
    ${shown.map(([kind, text, i], n) => {
      const gap = n > 0 && shown[n - 1][2] !== i - 1;
      const line = `${kind} ${text}\n`;
      const tag = { '+': 'ins', '-': 'del', ' ': 'span' }[kind];
      return html`${gap && html`<i>…${'\n'}</i>`}<${tag}>${line}<//>`;
    })}</pre>`;
}
