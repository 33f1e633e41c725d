/** Import: drop or paste CSV, match the columns, look at the result, then create the records. */
import { html, useMemo, useState } from '../../core/kit.js';
import { api, url } from '../../core/api.js';
import { A, go } from '../../core/router.js';
import { describe, words } from '../../core/store.js';
import {
  Empty,
  ErrorBox,
  Head,
  Loaded,
  fail,
  icon,
  saveAs,
  toast,
  useLoad,
} from '../../core/ui.js';
import { chosenRows, mapping, parseCsv, writeCsv } from './csv.js';
import { Preview, SHOWN, linksOf } from './preview.js';

export default function Import({ parts: [appId, name] }) {
  const app = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${app}>
    ${(found) => {
      const entity = found.entities.find((e) => e.name === name);
      return entity
        ? html`<${Screen} appId=${appId} entity=${entity} />`
        : html`<${Empty} title="There is no such table" glyph="table" />`;
    }}
  <//>`;
}

function Screen({ appId, entity }) {
  const [rows, setRows] = useState(null);
  const [names, setNames] = useState([]);
  const fields = entity.fields.filter((f) => !f.locked);
  const take = (text) => {
    const read = parseCsv(text);
    if (read.length < 2) {
      toast('The file needs a line with the names of the columns and at least one row.', {
        kind: 'bad',
      });
      return;
    }
    setNames(mapping(read[0], fields));
    setRows(read);
  };
  return html`<nav class="crumbs" aria-label="Where this is">
      <${A} to=${['data', appId, entity.name]}>${words(entity.name)}<//>
      ${icon('right')}
      <span>Import</span>
    </nav>
    <${Head}
      title=${`Import ${words(entity.name).toLowerCase()}`}
      sub="Nothing is written before you have seen the result."
      request=${{
        method: 'POST',
        path: url`/api/v1/apps/${appId}/collections/${entity.name}/import`,
        query: { dryRun: true },
      }}
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

function Source({ take, fields }) {
  const [over, set] = useState(false);
  const [text, setText] = useState('');
  const read = async (file) => {
    if (file) take(await file.text());
  };
  return html`<div class="stack narrow">
    <label
      class="drop ${over ? 'over' : ''}"
      onDragOver=${(e) => {
        e.preventDefault();
        set(true);
      }}
      onDragLeave=${() => set(false)}
      onDrop=${(e) => {
        e.preventDefault();
        set(false);
        read(e.dataTransfer.files[0]);
      }}
    >
      ${icon('upload')}
      <span>Drop a CSV file or <u>choose one</u></span>
      <input
        type="file"
        class="hide"
        accept=".csv,.tsv,text/csv"
        aria-label="CSV file"
        onChange=${(e) => read(e.target.files[0])}
      />
    </label>
    <label class="field">
      <span>Or paste rows <i>as copied from a spreadsheet</i></span>
      <textarea
        class="mono"
        rows="8"
        placeholder=${fields
          .slice(0, 4)
          .map((f) => f.name)
          .join(',')}
        value=${text}
        onInput=${(e) => setText(e.target.value)}
      />
    </label>
    <div>
      <button class="primary" disabled=${!text.trim()} onClick=${() => take(text)}>Continue</button>
    </div>
  </div>`;
}

function Mapped({ appId, entity, rows, names, setNames }) {
  const [heads, ...data] = rows;
  const [options, setOptions] = useState({ on: '', valid: false });
  const [busy, setBusy] = useState(false);
  const csv = useMemo(() => chosenRows(data, names, entity.fields), [rows, names]);
  const send = (query, signal) =>
    api('POST', url`/api/v1/apps/${appId}/collections/${entity.name}/import`, {
      body: writeCsv(csv),
      query,
      headers: { 'content-type': 'text/csv' },
      signal,
    });
  const tried = useLoad(
    async (signal) => {
      if (!csv[0].length) return null;
      const query = { on: options.on, mode: 'valid', dryRun: true, preview: SHOWN };
      const found = await send(query, signal);
      return { ...found, links: await linksOf(appId, entity, found) };
    },
    [csv, options.on],
  );
  const put = (i) => (e) => {
    const taken = (n) => (n === e.target.value ? '' : n);
    setNames(names.map((n, at) => (at === i ? e.target.value : taken(n))));
  };
  const run = async () => {
    setBusy(true);
    try {
      const done = await send({ on: options.on, mode: options.valid ? 'valid' : 'all' });
      const changed = done.updated ? `, ${done.updated} changed` : '';
      toast(`${done.created} records imported${changed}.`);
      go(['data', appId, entity.name]);
    } catch (error) {
      fail(error);
      setBusy(false);
    }
  };
  const keys = entity.unique.filter((key) => key.every((name) => names.includes(name)));
  const report = tried.data;
  const bad = report ? report.rows - report.valid : 0;
  const ready = report?.valid > 0 && (options.valid || !bad) && !tried.loading && !busy;
  return html`<div class="stack">
    <section class="card">
      <h2>Columns</h2>
      <div class="maps">
        ${heads.map(
          (head, i) => html`<label class="field" key=${i}>
            <span class="cut">${head || `column ${i + 1}`}</span>
            <select onChange=${put(i)}>
              <option value="" selected=${!names[i]}>leave out</option>
              ${entity.fields
                .filter((f) => !f.locked)
                .map(
                  (f) => html`<option key=${f.name} value=${f.name} selected=${names[i] === f.name}>
                  ${words(f.name)}${f.required ? ' *' : ''}
                </option>`,
                )}
            </select>
          </label>`,
        )}
      </div>
      ${
        keys.length > 0 &&
        html`<label class="field narrow">
          <span>Rows whose key is known</span>
          <select onChange=${(e) => setOptions({ ...options, on: e.target.value })}>
            <option value="">are errors</option>
            ${keys.map(
              (
                key,
              ) => html`<option key=${key} value=${key.join()} selected=${key.join() === options.on}>
                change the record with the same ${key.map(words).join(', ')}
              </option>`,
            )}
          </select>
        </label>`
      }
    </section>
    <section class="card">
      <h2>Result</h2>
      <${ErrorBox} error=${tried.error} retry=${tried.reload} />
      ${report && html`<${Counts} report=${report} bad=${bad} />`}
      <${Preview} appId=${appId} entity=${entity} csv=${csv} report=${report} />
    </section>
    ${bad > 0 && html`<${Errors} report=${report} heads=${heads} data=${data} name=${entity.name} />`}
    <div class="row">
      ${
        bad > 0 &&
        html`<label class="field line">
          <input
            type="checkbox"
            checked=${options.valid}
            onChange=${(e) => setOptions({ ...options, valid: e.target.checked })}
          />
          Leave the rows with errors out
        </label>`
      }
      <span class="grow" />
      <button class="primary" disabled=${!ready} onClick=${run}>
        ${busy ? 'Importing…' : `Import ${report?.valid ?? 0} records`}
      </button>
    </div>
  </div>`;
}

const Counts = ({ report, bad }) => html`<p>
  <span class="tag good">${report.created} new</span>${' '}
  ${report.updated > 0 && html`<span class="tag info">${report.updated} changed</span>`}${' '}
  ${bad > 0 && html`<span class="tag bad">${bad} with errors</span>`}${' '}
  <span class="dim">of ${report.rows} rows</span>
</p>`;

function Errors({ report, heads, data, name }) {
  const download = () => {
    const rows = new Set(report.errors.map((e) => e.row));
    const rejected = writeCsv([heads, ...data.filter((_, i) => rows.has(i + 1))]);
    saveAs(new Blob([rejected], { type: 'text/csv' }), `${name}-rejected.csv`);
  };
  return html`<section class="card">
    <div class="head">
      <h2>Errors</h2>
      <button onClick=${download}>Download the rejected rows</button>
    </div>
    <div class="scrollx" tabindex="0" role="region" aria-label="Errors">
      <table class="list">
        <thead><tr><th>Row</th><th>Column</th><th>Value</th><th>Error</th></tr></thead>
        <tbody>
          ${report.errors.slice(0, 200).map(
            (e, i) => html`<tr key=${i}>
              <td>${e.row}</td>
              <td>${e.field && words(e.field)}</td>
              <td><code>${String(e.value ?? '').slice(0, 60)}</code></td>
              <td>${e.error}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${report.errors.length > 200 && html`<p class="dim">${report.errors.length - 200} more.</p>`}
  </section>`;
}
