/** Steps about what a table has beside its columns: indexes, the search, who may see which fields. */
import { html, useEffect, useState } from '../../core/kit.js';
import { get, url } from '../../core/api.js';
import { A } from '../../core/router.js';
import { Listing } from '../../core/screen.js';
import { toWords } from '../../core/store.js';
import { IconButton, Loaded, icon, useLoad } from '../../core/ui.js';
import { Choice, Options } from '../../form/control.js';
import { kindOf } from './fieldform.js';
import { findEntityOf, openStep } from './steps.js';

const SERVER_FIELDS = ['created_at', 'updated_at', 'id'];
/** Columns that the form of an index offers, one behind the other. */
const MOST_COLUMNS = 4;
const UNINDEXED = ['json', 'list', 'file', 'files'];

const listFieldsOf = (manifest, entity) => findEntityOf(manifest, entity)?.fields ?? [];
const nameOfField = (field) => field.label ?? toWords(field.name);
const isSame = (left, right) => JSON.stringify(left) === JSON.stringify(right);
const setMember = (entity, name, value) => [
  { op: 'change_entity', entity, set: { [name]: value } },
];

// --- indexes

/** Open the dialog with the indexes of a table. @returns {Promise<boolean>} */
export function changeIndexes(appId, entity) {
  const Form = ({ manifest, change }) => {
    const stored = findEntityOf(manifest, entity)?.indexes ?? [];
    const [indexes, setIndexes] = useState(stored);
    useEffect(() => {
      const isChanged = !isSame(indexes, stored);
      change(isChanged ? setMember(entity, 'indexes', indexes.length ? indexes : null) : null);
    }, [indexes, manifest]);
    return html`<p class="dim">
        An index makes filters and orders by its columns fast. A unique one lets no two records have
        the same values. Links have one already.
      </p>
      <fieldset class="choices">
        <legend>Indexes</legend>
        ${indexes.map(
          (index, at) => html`<div class="row" key=${JSON.stringify(index)}>
            <span class="grow cut">${describeIndex(index)}</span>
            ${index.unique && html`<span class="tag">unique</span>`}
            <${IconButton}
              isSmall
              glyph="x"
              label=${`Remove the index of ${describeIndex(index)}`}
              onClick=${() => setIndexes(indexes.toSpliced(at, 1))}
            />
          </div>`,
        )}
        ${!indexes.length && html`<span class="dim">None yet.</span>`}
      </fieldset>
      <${NewIndex}
        fields=${listFieldsOf(manifest, entity)}
        add=${(index) => setIndexes([...indexes, index])}
      />`;
  };
  const done = () => `The indexes of “${toWords(entity)}” were changed.`;
  const title = `Indexes of ${toWords(entity)}`;
  return openStep({ appId, title, verb: 'Save', Form, done });
}

const nameOfColumn = (column) => column.column ?? column.expr ?? column;
const describeIndex = ({ columns }) => columns.map((one) => toWords(nameOfColumn(one))).join(', ');

/** Columns of an index that is not there yet: behind each that is chosen, another one can follow. */
function NewIndex({ fields, add }) {
  const [columns, setColumns] = useState([]);
  const [unique, setUnique] = useState(false);
  const fitting = fields.filter((field) => !UNINDEXED.includes(kindOf(field)));
  const names = [...fitting.map(({ name }) => name), ...SERVER_FIELDS];
  const selects = [...columns, ''].slice(0, MOST_COLUMNS);
  const choose = (at, name) =>
    setColumns(name ? columns.toSpliced(at, 1, name) : columns.slice(0, at));
  const submit = () => {
    add({ columns, ...(unique && { unique }) });
    setColumns([]);
    setUnique(false);
  };
  return html`<fieldset class="choices">
    <legend>New index</legend>
    <div class="row">
      ${selects.map((chosen, at) => {
        const others = columns.filter((_, index) => index !== at);
        const open = names.filter((name) => !others.includes(name));
        return html`<select
          key=${at}
          aria-label=${`Column ${at + 1} of the index`}
          onChange=${(event) => choose(at, event.target.value)}
        >
          <${Options}
            choices=${[['', at ? 'then by…' : 'Column…'], ...open.map((name) => [name, toWords(name)])]}
            chosen=${chosen}
          />
        </select>`;
      })}
    </div>
    <label class="row check">
      <input type="checkbox" checked=${unique} onChange=${(event) => setUnique(event.target.checked)} />
      Unique: no two records have the same values
    </label>
    <button type="button" class="small" disabled=${!columns.length} onClick=${submit}>
      ${icon('plus')}Add
    </button>
  </fieldset>`;
}

// --- the search

const WEIGHTS = [
  ['', 'not searched'],
  ['A', 'found first'],
  ['B', 'found early'],
  ['C', 'found later'],
  ['D', 'found last'],
];
/** Languages that need no name of their own to be found in the list. */
const LANGUAGES = [
  'simple',
  'arabic',
  'armenian',
  'basque',
  'catalan',
  'danish',
  'dutch',
  'english',
  'finnish',
  'french',
  'german',
  'greek',
  'hindi',
  'hungarian',
  'indonesian',
  'irish',
  'italian',
  'lithuanian',
  'nepali',
  'norwegian',
  'portuguese',
  'romanian',
  'russian',
  'serbian',
  'spanish',
  'swedish',
  'tamil',
  'turkish',
  'yiddish',
];

/** Open the dialog that says by which columns a table is searched. @returns {Promise<boolean>} */
export function changeSearch(appId, entity) {
  const Form = ({ manifest, change }) => {
    const stored = findEntityOf(manifest, entity)?.search;
    const fields = listFieldsOf(manifest, entity).filter(
      (field) => ['text', 'string'].includes(field.type) && !field.references,
    );
    const [search, setSearch] = useState(() => readSearch(stored));
    const { language, weights } = search;
    useEffect(() => {
      const next = writeSearch(fields, search);
      const isChanged = !isSame(next, writeSearch(fields, readSearch(stored)));
      change(isChanged ? setMember(entity, 'search', next) : null);
    }, [search, manifest]);
    const weigh = (name, weight) =>
      setSearch({ language, weights: { ...weights, [name]: weight } });
    const languages = LANGUAGES.map((name) => [
      name,
      name === 'simple' ? 'Any: whole words' : toWords(name),
    ]);
    return html`<p class="dim">
        Words in these columns are found by the box above the table, the best matches first. Without
        any, the box looks for a part of the title.
      </p>
      <${Choice}
        title="Language of the texts"
        choices=${languages}
        chosen=${language}
        change=${(name) => setSearch({ ...search, language: name })}
      />
      <fieldset class="choices">
        <legend>Columns</legend>
        ${fields.map(
          (field) => html`<label class="row" key=${field.name}>
            <span class="grow">${nameOfField(field)}</span>
            <select
              aria-label=${`Search in ${nameOfField(field)}`}
              onChange=${(event) => weigh(field.name, event.target.value)}
            >
              <${Options} choices=${WEIGHTS} chosen=${weights[field.name] ?? ''} />
            </select>
          </label>`,
        )}
        ${!fields.length && html`<p class="dim">The table has no column of texts.</p>`}
      </fieldset>`;
  };
  const done = () => `The search of “${toWords(entity)}” was changed.`;
  const title = `Search in ${toWords(entity)}`;
  return openStep({ appId, title, verb: 'Save', Form, done });
}

function readSearch(stored) {
  const named = (stored?.fields ?? []).map((item) =>
    typeof item === 'string' ? [item, 'D'] : [item.name, item.weight ?? 'D'],
  );
  return { language: stored?.language ?? 'simple', weights: Object.fromEntries(named) };
}

function writeSearch(fields, { language, weights }) {
  const searched = fields
    .filter(({ name }) => weights[name])
    .map(({ name }) => ({ name, weight: weights[name] }));
  return searched.length ? { language, fields: searched } : null;
}

// --- who may see and change a field

const ACTIONS = [
  ['read', 'see'],
  ['write', 'change'],
];

/** Open the dialog that keeps fields of a table for some roles. @returns {Promise<boolean>} */
export function changeAccess(appId, entity) {
  const Form = ({ manifest, change }) => {
    const fields = listFieldsOf(manifest, entity).filter(
      ({ name }) => !SERVER_FIELDS.includes(name),
    );
    const roles = useLoad(() => get(url`/api/v1/apps/${appId}/roles`), []);
    const [rules, setRules] = useState(() =>
      Object.fromEntries(fields.map((field) => [field.name, readAccess(field)])),
    );
    useEffect(() => {
      const changed = fields.filter(
        ({ name }) => !isSame(rules[name], readAccess(findOne(fields, name))),
      );
      const operations = changed.map(({ name }) => ({
        op: 'change_field',
        entity,
        field: name,
        set: { access: writeAccess(rules[name]) },
      }));
      change(operations.length ? operations : null);
    }, [rules, manifest]);
    const set = (name, action, names) =>
      setRules({ ...rules, [name]: { ...rules[name], [action]: names } });
    return html`<p class="dim">
        A field that is kept for roles is missing for all others, in the API as well. Admins see and
        change everything. The rights on whole records are at <${A} to=${['roles', appId]}>Roles<//>.
      </p>
      <${Loaded} of=${roles}>
        ${(list) => {
          const names = list.map(({ name }) => name).filter((name) => name !== 'admin');
          return html`<${Listing}
            heads=${['Field', 'Who may see it', 'Who may change it']}
            look="rights"
            tabindex="0"
            role="region"
            aria-label="Rights on fields"
          >
            ${fields.map(
              (field) => html`<tr key=${field.name}>
                <th scope="row">${nameOfField(field)}</th>
                ${ACTIONS.map(
                  ([action, verb]) => html`<td key=${action}>
                    <${Holders}
                      label=${`Who may ${verb} ${nameOfField(field)}`}
                      verb=${verb}
                      roles=${names}
                      chosen=${rules[field.name]?.[action] ?? null}
                      change=${(holders) => set(field.name, action, holders)}
                    />
                  </td>`,
                )}
              </tr>`,
            )}
          <//>`;
        }}
      <//>`;
  };
  const done = () => `The rights on fields of “${toWords(entity)}” were changed.`;
  const title = `Rights on fields of ${toWords(entity)}`;
  return openStep({ appId, title, verb: 'Save', Form, done });
}

const findOne = (fields, name) => fields.find((field) => field.name === name);

/** All who have the right on the record, or the roles that are ticked. */
function Holders({ label, verb, roles, chosen, change }) {
  const toggle = (name) =>
    change(chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name]);
  const choices = [
    ['', `${verb}: as the record`],
    ['roles', `${verb}: only some roles`],
  ];
  const all = [...new Set([...roles, ...(chosen ?? [])])];
  return html`<select
      aria-label=${label}
      onChange=${(event) => change(event.target.value ? [] : null)}
    >
      <${Options} choices=${choices} chosen=${chosen ? 'roles' : ''} />
    </select>
    ${
      chosen &&
      all.map(
        (name) => html`<label class="row check" key=${name}>
          <input type="checkbox" checked=${chosen.includes(name)} onChange=${() => toggle(name)} />
          ${name}
        </label>`,
      )
    }`;
}

function readAccess({ access }) {
  const read = (value) => (value === undefined || value === null ? null : [value].flat());
  return { read: read(access?.read), write: read(access?.write) };
}

function writeAccess({ read, write }) {
  if (!read && !write) return null;
  return { ...(read && { read }), ...(write && { write }) };
}
