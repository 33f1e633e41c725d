/**
 * Tables from files of CSV, of a new app or of one that is there: what the server proposes is shown,
 * then it is made and filled.
 */
import { html, useEffect, useState } from '../../core/kit.js';
import { formatQuery, post, upload, url } from '../../core/api.js';
import { openDialog } from '../../core/dialogs.js';
import { go } from '../../core/router.js';
import { Listing } from '../../core/screen.js';
import { loadApps, toWords } from '../../core/store.js';
import { ErrorBox, IconButton, Input, attempt, toast } from '../../core/ui.js';
import { Options } from '../../form/control.js';
import { FileDrop } from '../../form/files.js';
import { toName } from './fieldform.js';
import { toAppId } from './newapp.js';
import { AccessChoice, findEntityOf, grantAccess, openStep } from './steps.js';

/** Bytes of a file from which its types are found; a larger one says enough by then. */
const SAMPLE = 10_000_000;
/** Bytes that a header has at most. */
const LONGEST_HEADER = 1_000_000;
const ORDERS = [
  ['', 'Say how dates are written'],
  ['dmy', 'day first: 31/12/2024'],
  ['mdy', 'month first: 12/31/2024'],
];

export function FromData() {
  const [name, setName] = useState('');
  const [files, setFiles] = useState([]);
  const [dates, setDates] = useState('');
  const [access, setAccess] = useState('all');
  const [state, setState] = useState({});
  const ask = async (chosen, order) => {
    setFiles(chosen);
    setDates(order);
    setState({ busy: 'Reading…' });
    try {
      setState({ proposal: chosen.length ? await propose(chosen, name, order) : null });
    } catch (error) {
      setState({ error });
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    const { proposal } = state;
    if (!proposal) return;
    try {
      const title = name.trim() || proposal.manifest.name;
      const manifest = { ...proposal.manifest, appId: toAppId(title), name: title };
      await post('/api/v1/apps', manifest);
      const tables = proposal.tables.map((table) => table.entity);
      await grantAccess(manifest.appId, tables, access);
      await importAll(manifest.appId, proposal.tables, files, (busy) =>
        setState({ proposal, busy }),
      );
      await loadApps();
      go(['data', manifest.appId, tables[0]]);
    } catch (error) {
      await loadApps();
      setState({ proposal, error });
    }
  };
  const remove = (file) =>
    ask(
      files.filter((other) => other !== file),
      dates,
    );
  return html`<form class="stack builder card" onSubmit=${submit}>
    <${Input}
      title="Name of the app"
      maxlength="60"
      placeholder="Workshop"
      value=${name}
      onInput=${(event) => setName(event.target.value)}
    />
    <${FileDrop} label="CSV files" accept=".csv,.tsv,.txt" take=${(file) => ask([...files, file], dates)}>
      Drop a <code>.csv</code> or <u>choose one</u>; each file becomes a table.
    <//>
    ${files.map(
      (file) => html`<div class="row" key=${file.name}>
        <span class="grow cut">${file.name}</span>
        <${IconButton}
          isSmall
          glyph="x"
          label=${`Leave out ${file.name}`}
          onClick=${() => remove(file)}
        />
      </div>`,
    )}
    ${state.proposal && html`<${Proposed} proposal=${state.proposal} dates=${dates} choose=${(order) => ask(files, order)} />`}
    ${state.proposal && html`<${AccessChoice} chosen=${access} change=${setAccess} />`}
    ${state.busy && html`<p class="dim" role="status">${state.busy}</p>`}
    <${ErrorBox} error=${state.error} />
    <div>
      <button class="primary" disabled=${!state.proposal || Boolean(state.busy)}>
        Make the app and import
      </button>
    </div>
  </form>`;
}

function Proposed({ proposal, dates, choose }) {
  const isOpen = dates || proposal.tables.some((table) => table.questions.length);
  return html`<section aria-label="Proposal" class="stack">
    ${
      isOpen &&
      html`<label class="field">
        <span>Some dates can be read in two ways</span>
        <select onChange=${(event) => choose(event.target.value)}>
          <${Options} choices=${ORDERS} chosen=${dates} />
        </select>
      </label>`
    }
    ${proposal.tables.map(
      (table) => html`<div key=${table.entity}>
        <h3>${toWords(table.entity)} <span class="dim">· ${table.rows} rows read</span></h3>
        <div class="scrollx" tabindex="0" role="region" aria-label=${`Columns of ${table.entity}`}>
          <${Listing} heads=${['Column', 'Type', 'Why']} tabindex="0">
            ${table.columns.map(
              (column) => html`<tr key=${column.heading}>
                <td>${column.heading}</td>
                <td>${column.name ? toWords(column.type) : 'left out'}</td>
                <td class="dim">${column.why}</td>
              </tr>`,
            )}
          <//>
        </div>
      </div>`,
    )}
  </section>`;
}

async function propose(files, name, dates) {
  const form = new FormData();
  form.append('name', name.trim() || files[0].name.replace(/\.[^.]*$/, ''));
  if (dates) form.append('dates', dates);
  for (const file of files) form.append('file', await takeSample(file), file.name);
  return post('/api/v1/apps/from-data', form);
}

/** The first part of a file, to the end of a line. */
async function takeSample(file) {
  if (file.size <= SAMPLE) return file;
  const bytes = new Uint8Array(await file.slice(0, SAMPLE).arrayBuffer());
  return file.slice(0, bytes.lastIndexOf(10) + 1);
}

/** Import the files, those first that others link to. */
async function importAll(appId, tables, files, show) {
  let created = 0;
  for (const table of tables) {
    const file = files.find((one) => one.name === table.source);
    const path = url`/api/v1/apps/${appId}/collections/${table.entity}/import`;
    show(`Importing ${file.name}…`);
    const body = await nameColumns(file, table.header);
    const report = await upload(path + formatQuery(table.options), body, (part) =>
      show(`Importing ${file.name}: ${Math.round(part * 100)} % sent`),
    );
    const [first] = report.errors;
    if (first) {
      const place = `${file.name}, row ${first.row}${first.field ? `, ${first.field}` : ''}`;
      throw new Error(
        `The table was made, and this file was not imported. ${place}: ${first.error}`,
      );
    }
    created += report.created;
  }
  toast(`${created} records were imported.`);
}

/** A file whose first line has the names of the fields. */
async function nameColumns(file, header) {
  const start = await file.slice(0, LONGEST_HEADER).text();
  const end = findLineEnd(start);
  const line = start.slice(0, end);
  const delimiter = [...',;\t|'].reduce((best, sign) =>
    line.split(sign).length > line.split(best).length ? sign : best,
  );
  const offset = new TextEncoder().encode(start.slice(0, end)).length;
  // A byte order mark is no part of the text.
  const mark = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const isMarked = mark[0] === 0xef && mark[1] === 0xbb;
  const rest = file.slice(offset + (isMarked && start.charCodeAt(0) !== 0xfeff ? 3 : 0));
  return new Blob([header.join(delimiter), rest], { type: 'text/csv' });
}

/** Where the first line ends; a line break in quotes is a part of a heading. */
function findLineEnd(text) {
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '"') isQuoted = !isQuoted;
    if (!isQuoted && (text[at] === '\n' || text[at] === '\r')) return at;
  }
  return text.length;
}

// --- a table of an app that is there

/** Open the dialog that makes a table from a file and fills it; then show it. */
export async function addFromData(appId) {
  const draft = { file: null, table: null, access: 'all' };
  const Form = ({ manifest, change }) => {
    const [name, setName] = useState('');
    const [file, setFile] = useState(null);
    const [dates, setDates] = useState('');
    const [access, setAccess] = useState('all');
    const [state, setState] = useState({});
    const ask = async (chosen, order) => {
      setFile(chosen);
      setDates(order);
      setState({ busy: true });
      try {
        const proposal = await propose([chosen], '', order);
        setState({ proposal });
        setName((typed) => typed || toWords(proposal.tables[0].entity));
      } catch (error) {
        setState({ error });
      }
    };
    const { proposal } = state;
    const entityName = toName(name);
    const isTaken = Boolean(entityName && findEntityOf(manifest, entityName));
    useEffect(() => {
      const isReady = proposal && entityName && !isTaken;
      if (!isReady) {
        change(null);
        return;
      }
      const [table] = proposal.tables;
      Object.assign(draft, { file, access, table: { ...table, entity: entityName } });
      const entity = renameEntity(proposal.manifest.dataContract[0], entityName);
      change([{ op: 'add_entity', entity }]);
    }, [proposal, entityName, isTaken, access, manifest]);
    return html`<${FileDrop}
        label="CSV file"
        accept=".csv,.tsv,.txt"
        take=${(chosen) => ask(chosen, dates)}
      >
        ${file ? html`<b>${file.name}</b>, or drop another one.` : html`Drop a <code>.csv</code> or <u>choose one</u>.`}
      <//>
      <${Input}
        title="Name of the table"
        maxlength="60"
        value=${name}
        onInput=${(event) => setName(event.target.value)}
      />
      ${isTaken && html`<p class="notice warn">There is a table of that name already.</p>`}
      ${state.busy && html`<p class="dim" role="status">Reading…</p>`}
      <${ErrorBox} error=${state.error} />
      ${proposal && html`<${Proposed} proposal=${proposal} dates=${dates} choose=${(order) => ask(file, order)} />`}
      <${AccessChoice} chosen=${access} change=${setAccess} appId=${appId} />`;
  };
  const done = () => `The table “${toWords(draft.table.entity)}” was made.`;
  const step = { appId, title: 'Table from a CSV', verb: 'Make the table and import', Form, done };
  if (!(await openStep(step))) return;
  const { table, file, access } = draft;
  await attempt(() => grantAccess(appId, [table.entity], access));
  await attempt(() => importWithProgress(appId, table, file));
  await loadApps();
  go(['data', appId, table.entity]);
}

/** An entity under another name; links to itself follow. */
function renameEntity(entity, name) {
  const renameLink = (field) =>
    field.references?.entity === entity.entityName
      ? { ...field, references: { ...field.references, entity: name } }
      : field;
  return { ...entity, entityName: name, fields: entity.fields.map(renameLink) };
}

/** Import a file, and show how far it is. */
function importWithProgress(appId, table, file) {
  const Content = ({ close }) => {
    const [text, setText] = useState('');
    useEffect(() => {
      importAll(appId, [table], [file], setText).then(
        () => close(null),
        (error) => close(error),
      );
    }, []);
    return html`<h2>Importing</h2><p role="status">${text}</p>`;
  };
  return openDialog(Content, { label: 'Importing' }).then((error) => {
    if (error) throw error;
  });
}
