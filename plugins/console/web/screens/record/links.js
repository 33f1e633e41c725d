/** What links to a record, with counts: the way from a company to its deals. */
import { html } from '../../core/kit.js';
import { A } from '../../core/router.js';
import { may, words } from '../../core/store.js';
import { icon, useLoad } from '../../core/ui.js';
import { count } from '../data/rows.js';

export function Links({ app, entity, row }) {
  const links = app.entities.flatMap((from) =>
    from.fields
      .filter((f) => f.references === entity.name && may(app.id, from.name, 'read'))
      .map((field) => ({ from, field })),
  );
  const counts = useLoad(
    () =>
      Promise.all(
        links.map(({ from, field }) =>
          count(app.id, from, { where: { [field.name]: row.id } }).catch(() => null),
        ),
      ),
    [row.id],
  );
  if (!links.length) return null;
  return html`<section class="card side-card">
    <h2>What links here</h2>
    <ul class="plain links">
      ${links.map(({ from, field }, i) => {
        const where = JSON.stringify({ [field.name]: { $eq: row.id } });
        const same = links.filter((l) => l.from === from).length > 1;
        return html`<li key=${from.name + field.name} class="row">
          <${A} class="grow" to=${['data', app.id, from.name]} query=${{ where }}>
            ${words(from.name)}
            ${same && html` <small>by ${words(field.name).toLowerCase()}</small>`}
          <//>
          <span class="dim num">${counts.data?.[i] ?? '…'}</span>
          ${
            may(app.id, from.name, 'create') &&
            html`<${A}
              class="add"
              to=${['record', app.id, from.name, 'new']}
              query=${{ [field.name]: row.id }}
              title=${`New ${words(from.name).toLowerCase()}`}
              aria-label=${`New ${words(from.name).toLowerCase()}`}
            >
              ${icon('plus')}
            <//>`
          }
        </li>`;
      })}
    </ul>
  </section>`;
}
