/** The tables of an app, with what can be built on each: the way without dragging, by keys as well. */
import { html } from '../../core/kit.js';
import { A } from '../../core/router.js';
import { Menu } from '../../core/screen.js';
import { findApp, toWords } from '../../core/store.js';
import { icon } from '../../core/ui.js';
import { openBuilder } from '../builder/open.js';

/** Steps on a table: the function of the builder, and what the menu says. */
const STEPS = [
  ['changeIndexes', 'Indexes…'],
  ['changeSearch', 'Search…'],
  ['changeAccess', 'Rights on fields…'],
  ['renameTable', 'Rename…'],
  ['removeTable', 'Remove…'],
];

export function Tables({ app }) {
  if (!findApp(app.id)?.admin) return null;
  const build = (name, ...parameters) => openBuilder(name, app.id, ...parameters);
  return html`<section aria-label="Tables" class="stack">
    <div class="row">
      <h2 class="grow">Tables</h2>
      <button onClick=${() => build('addFromData')}>${icon('upload')}Table from a CSV</button>
      <button onClick=${() => build('addTable')}>${icon('plus')}New table</button>
    </div>
    <ul class="plain tablelist">
      ${app.entities.map(
        (entity) => html`<li class="row" key=${entity.name}>
          <span class="grow">
            <${A} to=${['data', app.id, entity.name]}>${entity.label ?? toWords(entity.name)}<//>
            <small class="block dim">
              ${countColumns(entity.fields.length)}${entity.search && ', searched by words'}
            </small>
          </span>
          <button class="small" onClick=${() => build('addColumn', entity.name)}>
            ${icon('plus')}Column
          </button>
          <button class="small" onClick=${() => build('addColumn', entity.name, { kind: 'link' })}>
            ${icon('link')}Link
          </button>
          <${StepMenu} name=${entity.name} build=${build} />
        </li>`,
      )}
    </ul>
  </section>`;
}

const countColumns = (number) => `${number} ${number === 1 ? 'column' : 'columns'}`;

const StepMenu = ({ name, build }) => html`<${Menu}
  title=${`Change ${toWords(name)}`}
  className="small icon"
  align="end"
  label=${icon('more')}
>
  ${(close) =>
    STEPS.map(
      ([step, title]) => html`<button
        key=${step}
        onClick=${() => {
          close();
          build(step, name);
        }}
      >
        ${title}
      </button>`,
    )}
<//>`;
