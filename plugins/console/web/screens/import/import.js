/** Import: drop or paste CSV, match the columns, look at the result, then create the records. */
import { html, useMemo, useState } from '../../core/kit.js';
import { post, url } from '../../core/api.js';
import { A, go } from '../../core/router.js';
import { describe, words } from '../../core/store.js';
import { Empty, Head, Loaded, fail, icon, toast, useLoad } from '../../core/ui.js';
import { check, mapping, parseCsv, writeCsv } from './csv.js';

const CHUNK = 500;

export default function Import({ parts: [appId, name] }) {
  const app = useLoad(() => describe(appId), [appId]);
  return html`<${Loaded} of=${app}>${(found) => {
    const entity = found.entities.find((e) => e.name === name);
    return entity ? html`<${Screen} appId=${appId} entity=${entity} />` : html`<${Empty} title="There is no such table" glyph="table" />`;
  }}<//>`;
}

function Screen({ appId, entity }) {
  const [rows, setRows] = useState(null);
  const [names, setNames] = useState([]);
  const fields = entity.fields;
  const take = (text) => {
    const read = parseCsv(text);
    if (read.length < 2) { toast('The file needs a line with the names of the columns and at least one row.', { kind: 'bad' }); return; }
    setNames(mapping(read[0], fields));
    setRows(read);
  };
  return html`<nav class="crumbs" aria-label="Where this is"><${A} to=${['data', appId, entity.name]}>${words(entity.name)}<//>${icon('right')}<span>Import</span></nav>
    <${Head} title=${`Import ${words(entity.name).toLowerCase()}`} sub="Nothing is written before you have seen the result.">${rows && html`<button onClick=${() => setRows(null)}>Another file</button>`}<//>
    ${rows ? html`<${Mapped} appId=${appId} entity=${entity} rows=${rows} names=${names} setNames=${setNames} />` : html`<${Source} take=${take} fields=${fields} />`}`;
}

function Source({ take, fields }) {
  const [over, set] = useState(false);
  const [text, setText] = useState('');
  const read = async (file) => { if (file) take(await file.text()); };
  return html`<div class="stack narrow"><label class="drop ${over ? 'over' : ''}" onDragOver=${(e) => { e.preventDefault(); set(true); }} onDragLeave=${() => set(false)} onDrop=${(e) => { e.preventDefault(); set(false); read(e.dataTransfer.files[0]); }}>
      ${icon('upload')}<span>Drop a CSV file or <u>choose one</u></span><input type="file" class="hide" accept=".csv,.tsv,text/csv" aria-label="CSV file" onChange=${(e) => read(e.target.files[0])} /></label>
    <label class="field"><span>Or paste rows <i>as copied from a spreadsheet</i></span><textarea class="mono" rows="8" placeholder=${fields.slice(0, 4).map((f) => f.name).join(',')} value=${text} onInput=${(e) => setText(e.target.value)} /></label>
    <div><button class="primary" disabled=${!text.trim()} onClick=${() => take(text)}>Continue</button></div></div>`;
}

function Mapped({ appId, entity, rows, names, setNames }) {
  const [mode, setMode] = useState('all');
  const [state, set] = useState({});
  const [heads, ...data] = rows;
  const result = useMemo(() => check(data, names, entity.fields), [rows, names]);
  const { records, errors, bad } = result;
  const put = (i) => (e) => setNames(names.map((n, at) => (at === i ? e.target.value : n === e.target.value && n ? '' : n)));
  const ready = records.length > 0 && (mode === 'valid' || !errors.length);
  const run = async () => {
    let done = 0;
    set({ done });
    try {
      for (let at = 0; at < records.length; at += CHUNK) {
        const part = records.slice(at, at + CHUNK).map((r) => r.record);
        await post(url`/api/v1/apps/${appId}/collections/${entity.name}/bulk`, part);
        done += part.length;
        set({ done });
      }
      toast(`${done} records imported.`);
      go(['data', appId, entity.name]);
    } catch (error) {
      fail(error);
      set({ stopped: `${done} of ${records.length} records are imported; rows ${records[done].row} to ${records[Math.min(done + CHUNK, records.length) - 1].row} were refused as a whole.` });
    }
  };
  const download = () => {
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(new Blob([writeCsv([heads, ...bad])], { type: 'text/csv' })), download: `${entity.name}-rejected.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  return html`<div class="stack"><section class="card"><h2>Columns</h2><div class="maps">${heads.map((head, i) => html`<label class="field" key=${i}><span class="cut">${head || `column ${i + 1}`}</span><select onChange=${put(i)}><option value="" selected=${!names[i]}>leave out</option>${entity.fields.map((f) => html`<option key=${f.name} value=${f.name} selected=${names[i] === f.name}>${words(f.name)}${f.required ? ' *' : ''}</option>`)}</select></label>`)}</div></section>
    <section class="card"><h2>Result</h2><p><span class="tag good">${records.length} ready</span> ${bad.length > 0 && html`<span class="tag bad">${bad.length} with errors</span>`} <span class="dim">of ${data.length} rows</span></p>
      <div class="scrollx" tabindex="0" role="region" aria-label="First rows as they would be"><table class="list"><thead><tr><th>Row</th>${names.filter(Boolean).map((n) => html`<th key=${n}>${words(n)}</th>`)}</tr></thead><tbody>${records.slice(0, 20).map(({ row, record }) => html`<tr key=${row}><td class="dim">${row}</td>${names.filter(Boolean).map((n) => html`<td key=${n}>${record[n] === null ? html`<span class="dim">–</span>` : typeof record[n] === 'object' ? JSON.stringify(record[n]) : record[n]}</td>`)}</tr>`)}</tbody></table></div></section>
    ${errors.length > 0 && html`<section class="card"><div class="head"><h2>Errors</h2><button onClick=${download}>Download the rejected rows</button></div><div class="scrollx" tabindex="0" role="region" aria-label="Errors"><table class="list"><thead><tr><th>Row</th><th>Column</th><th>Value</th><th>Error</th></tr></thead><tbody>${errors.slice(0, 200).map((e, i) => html`<tr key=${i}><td>${e.row}</td><td>${words(e.field)}</td><td><code>${e.value.slice(0, 60)}</code></td><td>${e.error}</td></tr>`)}</tbody></table></div>${errors.length > 200 && html`<p class="dim">${errors.length - 200} more.</p>`}</section>`}
    ${state.stopped && html`<div class="notice bad" role="alert">${state.stopped}</div>`}
    <div class="row">${bad.length > 0 && html`<label class="field line"><input type="checkbox" checked=${mode === 'valid'} onChange=${(e) => setMode(e.target.checked ? 'valid' : 'all')} />Leave the rows with errors out</label>`}<span class="grow" />
      <button class="primary" disabled=${!ready || state.done !== undefined} onClick=${run}>${state.done !== undefined ? `${state.done} of ${records.length}…` : `Import ${records.length} records`}</button></div></div>`;
}
