/** Import: drop or paste a table, look at how it is read and at the result, then create the records. */
import { html, useMemo, useState } from '../../core/kit.js';
import { api, url } from '../../core/api.js';
import { useUnsaved } from '../../core/dialogs.js';
import { A, leave } from '../../core/router.js';
import { Head, Listing, saveAs } from '../../core/screen.js';
import { describe, may, toWords } from '../../core/store.js';
import { Empty, ErrorBox, Loaded, fail, icon, toast, useLoad } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { loadLinkTitles } from '../../parts/titles.js';
import { hasUndo, openUndo, toastUndo } from '../../parts/undo.js';
import {
  Preview,
  SHOWN,
  chooseRows,
  findSheet,
  listNext,
  listTargets,
  matchTargets,
} from './mapping.js';
import {
  Reading,
  SourceChoice,
  beginReading,
  describeReading,
  guessCells,
  readRows,
  writeCsv,
} from './reading.js';

const TOO_SHORT = 'The file needs a line with the names of the columns and at least one row.';
/** Errors that are listed. */
const MOST_ERRORS = 200;
const LONGEST_VALUE = 60;
/** With this key rows whose id no record has create records under it. */
const WITH_IDS = 'id+create';

/** Imports that are listed. */
const MOST_IMPORTS = 20;

/** What was imported since the console was opened, the last one first: a toast is soon gone. */
let imports = [];

/** The workbook whose other sheets are imported next; the next table's screen takes it. */
let pending = null;

const buildPath = (appId, entity) => url`/api/v1/apps/${appId}/collections/${entity.name}/import`;

export default function Import({ parts: [appId, name] }) {
  const description = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${description}>
    ${(app) => {
      const entity = app.entities.find((candidate) => candidate.name === name);
      return entity
        ? html`<${Screen} key=${name} appId=${appId} app=${app} entity=${entity} />`
        : html`<${Empty} title="There is no such table" glyph="table" />`;
    }}
  <//>`;
}

/** What an import begins with: a source, how it is read, what its columns and cells are. */
function begin(app, entity, source, reading, targets) {
  const rows = readRows(source, reading);
  if (rows.length < 2) return { source, reading, rows, names: [], cells: {} };
  const [heads, ...data] = rows;
  const names = matchTargets(heads, data, targets);
  return { source, reading, rows, names, cells: guessCells(data, names, targets) };
}

function Screen({ appId, app, entity }) {
  const targets = useMemo(() => listTargets(app, entity), [app, entity]);
  const open = (source) => {
    const sheet = source.sheets ? findSheet(app, entity, source.sheets) : 0;
    return begin(app, entity, source, beginReading(source, sheet), targets);
  };
  const [state, setState] = useState(() => {
    const source = pending?.appId === appId ? pending.source : null;
    return source ? open(source) : null;
  });
  useUnsaved(state !== null);
  const take = (source) => {
    const opened = open(source);
    if (opened.rows.length < 2) {
      toast(TOO_SHORT, { kind: 'bad' });
      return;
    }
    pending = source.sheets ? { appId, source, done: new Set() } : null;
    setState(opened);
  };
  const forget = () => {
    pending = null;
    setState(null);
  };
  const request = { method: 'POST', path: buildPath(appId, entity), query: { dryRun: true } };
  return html`<nav class="crumbs" aria-label="Where this is">
      <${A} to=${['data', appId, entity.name]}>${toWords(entity.name)}<//>
      ${icon('right')}
      <span>Import</span>
    </nav>
    <${Head}
      title=${`Import ${toWords(entity.name).toLowerCase()}`}
      sub="Nothing is written before you have seen the result."
      request=${request}
    >
      ${state && html`<button onClick=${forget}>Another file</button>`}
    <//>
    ${hasUndo() && html`<${Imported} appId=${appId} />`}
    ${
      state
        ? html`<${NextSheets} appId=${appId} app=${app} entity=${entity} />
            <${Mapped}
              appId=${appId}
              app=${app}
              entity=${entity}
              targets=${targets}
              state=${state}
              setState=${setState}
            />`
        : html`<${SourceChoice} take=${take} fields=${targets.map(({ field }) => field).slice(1)} />`
    }`;
}

/** Imports into the app, each with a button that shows what taking it back would do. */
const Imported = ({ appId }) =>
  imports
    .filter((item) => item.appId === appId)
    .map(
      ({ request, name, words }) => html`<p key=${request} class="row" role="note">
        <span class="grow">${toWords(name)}: ${words}</span>
        <button onClick=${() => openUndo(appId, { request }, { title: 'Undo this import' })}>
          ${icon('history')}Undo
        </button>
      </p>`,
    );

/** Sheets of the same workbook that are other tables; those that this one links to come first. */
function NextSheets({ appId, app, entity }) {
  if (!pending) return null;
  const next = listNext(app, pending.source.sheets, pending.done);
  const others = next.filter((item) => item.entity !== entity);
  const links = entity.fields.map(({ references }) => references);
  const first = others.filter((item) => links.includes(item.entity.name));
  if (!others.length) return null;
  return html`<p class="row wrap" role="note">
    ${first.length ? 'Import what is linked to first:' : 'Other sheets of this workbook:'}
    ${(first.length ? first : others).map(
      (item) => html`<button
        key=${item.sheet.name}
        onClick=${() => leave(['import', appId, item.entity.name])}
      >
        ${item.sheet.name}
      </button>`,
    )}
  </p>`;
}

function Mapped({ appId, app, entity, targets, state, setState }) {
  const { source, reading, rows, names, cells } = state;
  const [heads, ...data] = rows.length ? rows : [[]];
  /** `on` is the key by which rows change records; with `valid` those with errors are left out. */
  const [options, setOptions] = useState({ on: names.includes('id') ? 'id' : '', valid: false });
  const [isBusy, setBusy] = useState(false);
  const csv = useMemo(() => chooseRows(data, names, targets), [rows, names]);
  const setNames = (chosen) =>
    setState({ ...state, names: chosen, cells: guessCells(data, chosen, targets) });
  const send = (query, request) => {
    const key = options.on === WITH_IDS ? { on: 'id', create: 'ids' } : { on: options.on };
    return api('POST', buildPath(appId, entity), {
      body: writeCsv(csv),
      query: { ...query, ...key, ...describeReading(cells) },
      headers: { 'content-type': 'text/csv' },
      ...request,
    });
  };
  const tried = useLoad(
    async (signal) => {
      const hasColumns = csv[0].length > 0;
      if (!hasColumns || csv.length < 2 || cells.dates === '?') return null;
      const report = await send({ mode: 'valid', dryRun: true, preview: SHOWN }, { signal });
      const records = (report.preview ?? []).map((item) => item.record);
      return { ...report, links: await loadLinkTitles(appId, entity, records) };
    },
    [csv, options.on, cells.dates, cells.decimal],
  );
  const run = async () => {
    setBusy(true);
    try {
      const query = { mode: options.valid ? 'valid' : 'all' };
      const { body: result, requestId: request } = await send(query, { full: true });
      const changed = result.updated - (result.unchanged ?? 0);
      const words = changed ? `, ${changed} changed` : '';
      finish(`${result.created} records imported${words}.`, request);
    } catch (error) {
      fail(error);
      setBusy(false);
    }
  };
  /** Go on with the next sheet, which the longer toast with an undo would cover; or to the table. */
  const finish = (words, request) => {
    imports = [{ appId, request, name: entity.name, words }, ...imports].slice(0, MOST_IMPORTS);
    pending?.done.add(pending.source.sheets[reading.sheet].name);
    const [next] = pending ? listNext(app, pending.source.sheets, pending.done) : [];
    if (next && may(appId, next.entity.name, 'create')) {
      leave(['import', appId, next.entity.name]);
      toast(words);
      return;
    }
    pending = null;
    leave(['data', appId, entity.name]);
    toastUndo(words, { appId, request });
  };
  const report = tried.data;
  const valid = report?.valid ?? 0;
  const wrong = report ? report.rows - report.valid : 0;
  const isAccepted = options.valid || wrong === 0;
  const isReady = valid > 0 && isAccepted && !tried.loading && !isBusy && cells.dates !== '?';
  return html`<div class="stack">
    <${Reading}
      source=${source}
      reading=${reading}
      cells=${cells}
      change=${(chosen) => setState(begin(app, entity, source, chosen, targets))}
      changeCells=${(chosen) => setState({ ...state, cells: chosen })}
    />
    <section class="card">
      <h2>Columns</h2>
      <div class="stack">
      <${Mapping} heads=${heads} targets=${targets} names=${names} setNames=${setNames} />
      <${KeyChoice} entity=${entity} names=${names} options=${options} setOptions=${setOptions} />
      </div>
    </section>
    <section class="card">
      <h2>Result</h2>
      <${ErrorBox} error=${tried.error} retry=${tried.reload} />
      ${report && html`<${Counts} report=${report} wrong=${wrong} />`}
      <${Preview} appId=${appId} entity=${entity} targets=${targets} csv=${csv} report=${report} />
    </section>
    ${
      wrong > 0 &&
      html`<${Errors} report=${report} heads=${heads} data=${data} name=${entity.name} />`
    }
    <div class="row">
      ${wrong > 0 && html`<${LeaveOut} options=${options} setOptions=${setOptions} />`}
      <span class="grow" />
      <button class="primary" disabled=${!isReady} onClick=${run}>
        ${isBusy ? 'Importing…' : `Import ${valid} records`}
      </button>
    </div>
  </div>`;
}

/** What a column can be: "Customer", or "Customer by name". */
function titleTarget({ name, field, key }) {
  const mark = field.required ? ' *' : '';
  const title = toWords(field.name) + mark;
  return [name, key ? `${title} by ${toWords(key).toLowerCase()}` : title];
}

/** Which field each column of the file is. A field has one column: choosing it takes it from another. */
function Mapping({ heads, targets, names, setNames }) {
  const titled = targets.map(titleTarget);
  const fieldOf = (name) => targets.find((target) => target.name === name)?.field;
  const choose = (index, chosen) => {
    const others = names.map((name) => (chosen && fieldOf(name) === fieldOf(chosen) ? '' : name));
    setNames(others.with(index, chosen));
  };
  return html`<div class="maps">
    ${heads.map(
      (head, index) => html`<label class="field" key=${index}>
        <span class="cut">${head || `column ${index + 1}`}</span>
        <select onChange=${(event) => choose(index, event.target.value)}>
          <${Options} choices=${[['', 'leave out'], ...titled]} chosen=${names[index]} />
        </select>
      </label>`,
    )}
  </div>`;
}

/** What happens to rows whose key is known, where the file has one. */
function KeyChoice({ entity, names, options, setOptions }) {
  const isMapped = (key) => key.every((name) => names.includes(name));
  const keys = entity.unique.filter((key) => isMapped(key) && key[0] !== 'id');
  const choices = keys.map((key) => {
    const fields = key.map((name) => toWords(name)).join(', ');
    return [key.join(), `change the record with the same ${fields}`];
  });
  if (names.includes('id'))
    choices.push(
      ['id', 'change the record with the same id'],
      [WITH_IDS, 'change the record with the same id, or create it'],
    );
  if (!choices.length) return null;
  const plain = names.includes('id') ? 'create a record with an id of its own' : 'are errors';
  return html`<label class="field narrow">
    <span>Rows whose key is known</span>
    <select onChange=${(event) => setOptions({ ...options, on: event.target.value })}>
      <${Options} choices=${[['', plain], ...choices]} chosen=${options.on} />
    </select>
  </label>`;
}

const LeaveOut = ({ options, setOptions }) => html`<label class="field line">
  <input
    type="checkbox"
    checked=${options.valid}
    onChange=${(event) => setOptions({ ...options, valid: event.target.checked })}
  />
  Leave the rows with errors out
</label>`;

function Counts({ report, wrong }) {
  const changed = report.updated - (report.unchanged ?? 0);
  return html`<p>
    <span class="tag good">${report.created} new</span>${' '}
    ${changed > 0 && html`<span class="tag info">${changed} changed</span>`}${' '}
    ${report.unchanged > 0 && html`<span class="tag">${report.unchanged} the same</span>`}${' '}
    ${wrong > 0 && html`<span class="tag bad">${wrong} with errors</span>`}${' '}
    <span class="dim">of ${report.rows} rows</span>
  </p>`;
}

function Errors({ report, heads, data, name }) {
  const download = () => {
    const numbers = new Set(report.errors.map((error) => error.row));
    const rejected = data.filter((_, index) => numbers.has(index + 1));
    const file = new Blob([writeCsv([heads, ...rejected])], { type: 'text/csv' });
    saveAs(file, `${name}-rejected.csv`);
  };
  const unlisted = report.errors.length - MOST_ERRORS;
  return html`<section class="card">
    <div class="head">
      <h2>Errors</h2>
      <button onClick=${download}>Download the rejected rows</button>
    </div>
    <${Listing}
      heads=${['Row', 'Column', 'Value', 'Error']}
      tabindex="0"
      role="region"
      aria-label="Errors"
    >
      ${report.errors.slice(0, MOST_ERRORS).map(
        (problem, index) => html`<tr key=${index}>
          <td>${problem.row}</td>
          <td>${problem.field && toWords(problem.field)}</td>
          <td><code>${String(problem.value ?? '').slice(0, LONGEST_VALUE)}</code></td>
          <td>${problem.error}</td>
        </tr>`,
      )}
    <//>
    ${unlisted > 0 && html`<p class="dim">${unlisted} more.</p>`}
  </section>`;
}
