/** What links to a record, with counts: the way from a company to its deals. */
import { html } from '../../core/kit.js';
import { stringify } from '../../core/json.js';
import { A } from '../../core/router.js';
import { may, toWords } from '../../core/store.js';
import { icon, useLoad } from '../../core/ui.js';
import { count } from '../data/rows.js';

export function Links({ app, entity, row }) {
  const links = findLinks(app, entity);
  const countOne = ({ from, field }) =>
    count(app.id, from, { where: { [field.name]: row.id } }).catch(() => null);
  const counts = useLoad(() => Promise.all(links.map(countOne)), [row.id]);
  if (!links.length) return null;
  const isAmbiguous = (from) => links.filter((link) => link.from === from).length > 1;
  return html`<section class="card side-card">
    <h2>What links here</h2>
    <ul class="plain links">
      ${links.map(
        ({ from, field }, index) => html`<${Link}
          key=${from.name + field.name}
          appId=${app.id}
          table=${from.name}
          field=${field}
          id=${row.id}
          count=${counts.data?.[index] ?? '…'}
          isAmbiguous=${isAmbiguous(from)}
        />`,
      )}
    </ul>
  </section>`;
}

/** The tables that link to an entity, with the fields by which they do. */
function findLinks(app, entity) {
  const readable = app.entities.filter((from) => may(app.id, from.name, 'read'));
  return readable.flatMap((from) => {
    const fields = from.fields.filter((field) => field.references === entity.name);
    return fields.map((field) => ({ from, field }));
  });
}

function Link({ appId, table, field, id, count: number, isAmbiguous }) {
  const where = stringify({ [field.name]: { $eq: id } });
  const title = `New ${toWords(table).toLowerCase()}`;
  const fieldName = toWords(field.name).toLowerCase();
  return html`<li class="row">
    <${A} class="grow" to=${['data', appId, table]} query=${{ where }}>
      ${toWords(table)}
      ${isAmbiguous && html` <small>by ${fieldName}</small>`}
    <//>
    <span class="dim num">${number}</span>
    ${
      may(appId, table, 'create') &&
      html`<${A}
        class="add"
        to=${['record', appId, table, 'new']}
        query=${{ [field.name]: id }}
        title=${title}
        aria-label=${title}
      >
        ${icon('plus')}
      <//>`
    }
  </li>`;
}
