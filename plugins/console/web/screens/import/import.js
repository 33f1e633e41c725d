/** Import: drop or paste CSV, match the columns, look at the result, then create the records. */
import { html, useMemo, useState } from '../../core/kit.js';
import { api, url } from '../../core/api.js';
import { saveAs } from '../../core/browser.js';
import { Head } from '../../core/head.js';
import { A, leave } from '../../core/router.js';
import { describe, toWords } from '../../core/store.js';
import { Empty, ErrorBox, Loaded, fail, icon, toast, useLoad } from '../../core/ui.js';
import { useUnsaved } from '../../core/unsaved.js';
import { Options } from '../../form/options.js';
import { loadLinkTitles } from '../../parts/titles.js';
import { toastUndo } from '../../parts/undo.js';
import { chooseRows, matchFields, parseCsv, writeCsv } from './csv.js';
import { Preview, SHOWN } from './preview.js';
import { Source } from './source.js';

const TOO_SHORT = 'The file needs a line with the names of the columns and at least one row.';
/** Errors that are listed. */
const MOST_ERRORS = 200;
const LONGEST_VALUE = 60;

const buildPath = (appId, entity) => url`/api/v1/apps/${appId}/collections/${entity.name}/import`;

export default function Import({ parts: [appId, name] }) {
  const description = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${description}>
    ${(app) => {
      const entity = app.entities.find((candidate) => candidate.name === name);
      return entity
        ? html`<${Screen} appId=${appId} entity=${entity} />`
        : html`<${Empty} title="There is no such table" glyph="table" />`;
    }}
  <//>`;
}

function Screen({ appId, entity }) {
  const [rows, setRows] = useState(null);
  /** The field of each column; empty for one that is left out. */
  const [names, setNames] = useState([]);
  const fields = entity.fields.filter((field) => !field.locked);
  useUnsaved(rows !== null);
  const take = (text) => {
    const lines = parseCsv(text);
    if (lines.length < 2) {
      toast(TOO_SHORT, { kind: 'bad' });
      return;
    }
    setNames(matchFields(lines[0], fields));
    setRows(lines);
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
      ${rows && html`<button onClick=${() => setRows(null)}>Another file</button>`}
    <//>
    ${
      rows
        ? html`<${Mapped}
          appId=${appId}
          entity=${entity}
          rows=${rows}
          names=${names}
          setNames=${setNames}
        />`
        : html`<${Source} take=${take} fields=${fields} />`
    }`;
}

function Mapped({ appId, entity, rows, names, setNames }) {
  const [heads, ...data] = rows;
  /** `on` is the key by which rows change records; with `valid` those with errors are left out. */
  const [options, setOptions] = useState({ on: '', valid: false });
  const [isBusy, setBusy] = useState(false);
  const csv = useMemo(() => chooseRows(data, names, entity.fields), [rows, names]);
  const send = (query, options) =>
    api('POST', buildPath(appId, entity), {
      body: writeCsv(csv),
      query,
      headers: { 'content-type': 'text/csv' },
      ...options,
    });
  const tried = useLoad(
    async (signal) => {
      const hasColumns = csv[0].length > 0;
      if (!hasColumns) return null;
      const query = { on: options.on, mode: 'valid', dryRun: true, preview: SHOWN };
      const report = await send(query, { signal });
      const records = (report.preview ?? []).map((item) => item.record);
      return { ...report, links: await loadLinkTitles(appId, entity, records) };
    },
    [csv, options.on],
  );
  const run = async () => {
    setBusy(true);
    try {
      const query = { on: options.on, mode: options.valid ? 'valid' : 'all' };
      const { body: result, requestId: request } = await send(query, { full: true });
      const changed = result.updated ? `, ${result.updated} changed` : '';
      leave(['data', appId, entity.name]);
      toastUndo(`${result.created} records imported${changed}.`, { appId, request });
    } catch (error) {
      fail(error);
      setBusy(false);
    }
  };
  const report = tried.data;
  const valid = report?.valid ?? 0;
  const wrong = report ? report.rows - report.valid : 0;
  const isAccepted = options.valid || wrong === 0;
  const isReady = valid > 0 && isAccepted && !tried.loading && !isBusy;
  return html`<div class="stack">
    <section class="card">
      <h2>Columns</h2>
      <${Mapping} heads=${heads} entity=${entity} names=${names} setNames=${setNames} />
      <${KeyChoice} entity=${entity} names=${names} options=${options} setOptions=${setOptions} />
    </section>
    <section class="card">
      <h2>Result</h2>
      <${ErrorBox} error=${tried.error} retry=${tried.reload} />
      ${report && html`<${Counts} report=${report} wrong=${wrong} />`}
      <${Preview} appId=${appId} entity=${entity} csv=${csv} report=${report} />
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

/** Which field each column of the file is. A field has one column: choosing it takes it from another. */
function Mapping({ heads, entity, names, setNames }) {
  const fields = entity.fields.filter((field) => !field.locked);
  const titled = fields.map((field) => {
    const mark = field.required ? ' *' : '';
    return [field.name, toWords(field.name) + mark];
  });
  const choose = (index, chosen) => {
    const others = names.map((name) => (name === chosen ? '' : name));
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
  const keys = entity.unique.filter(isMapped);
  if (!keys.length) return null;
  const choices = keys.map((key) => {
    const fields = key.map((name) => toWords(name)).join(', ');
    return [key.join(), `change the record with the same ${fields}`];
  });
  return html`<label class="field narrow">
    <span>Rows whose key is known</span>
    <select onChange=${(event) => setOptions({ ...options, on: event.target.value })}>
      <${Options} choices=${[['', 'are errors'], ...choices]} chosen=${options.on} />
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

const Counts = ({ report, wrong }) => html`<p>
  <span class="tag good">${report.created} new</span>${' '}
  ${report.updated > 0 && html`<span class="tag info">${report.updated} changed</span>`}${' '}
  ${wrong > 0 && html`<span class="tag bad">${wrong} with errors</span>`}${' '}
  <span class="dim">of ${report.rows} rows</span>
</p>`;

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
    <div class="scrollx" tabindex="0" role="region" aria-label="Errors">
      <table class="list">
        <thead>
          <tr><th>Row</th><th>Column</th><th>Value</th><th>Error</th></tr>
        </thead>
        <tbody>
          ${report.errors.slice(0, MOST_ERRORS).map(
            (problem, index) => html`<tr key=${index}>
              <td>${problem.row}</td>
              <td>${problem.field && toWords(problem.field)}</td>
              <td><code>${String(problem.value ?? '').slice(0, LONGEST_VALUE)}</code></td>
              <td>${problem.error}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${unlisted > 0 && html`<p class="dim">${unlisted} more.</p>`}
  </section>`;
}
