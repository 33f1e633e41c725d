/** Where the rows of an import come from: a file, or what was copied from a spreadsheet. */
import { html, useState } from '../../core/kit.js';
import { toast } from '../../core/ui.js';
import { FileDrop } from '../../form/files.js';
import { guessCharset } from './guess.js';

const ACCEPTED = '.csv,.tsv,.txt,.xlsx,text/csv';
/** How the files of Excel before 2007 begin. */
const OLD_EXCEL = [0xd0, 0xcf, 0x11, 0xe0];

/**
 * What was chosen: the sheets of a workbook, or the bytes or the text of a table.
 * @typedef {{sheets?: {name: string, rows: string[][]}[], bytes?: Uint8Array, text?: string,
 *   charset?: string}} Source
 */

/** @param {File} file @returns {Promise<Source>} */
async function openFile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (OLD_EXCEL.every((byte, place) => bytes[place] === byte))
    throw new Error('This file is of Excel before 2007: save it as .xlsx or as CSV.');
  const { isArchive, readWorkbook } = await import('./xlsx.js');
  if (!isArchive(bytes)) return { bytes, charset: guessCharset(bytes) };
  const sheets = await readWorkbook(bytes);
  if (!sheets.length) throw new Error('The workbook has no cells.');
  return { sheets };
}

/** @param {{take: (source: Source) => void, fields: any[]}} props */
export function SourceChoice({ take, fields }) {
  const [text, setText] = useState('');
  const names = fields.slice(0, 4).map((field) => field.name);
  const read = async (file) => {
    try {
      take(await openFile(file));
    } catch (error) {
      toast(error.message, { kind: 'bad' });
    }
  };
  return html`<div class="stack narrow">
    <${FileDrop} label="CSV or Excel file" accept=${ACCEPTED} take=${read}>
      Drop a CSV or Excel file or <u>choose one</u>
    <//>
    <label class="field">
      <span>Or paste rows <i>as copied from a spreadsheet</i></span>
      <textarea
        class="mono"
        rows="8"
        placeholder=${names.join(',')}
        value=${text}
        onInput=${(event) => setText(event.target.value)}
      />
    </label>
    <div>
      <button class="primary" disabled=${!text.trim()} onClick=${() => take({ text })}>
        Continue
      </button>
    </div>
  </div>`;
}
