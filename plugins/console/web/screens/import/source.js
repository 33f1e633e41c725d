/** Where the rows of an import come from: a file, or what was copied from a spreadsheet. */
import { html, useState } from '../../core/kit.js';
import { FileDrop } from '../../form/filedrop.js';

const ACCEPTED = '.csv,.tsv,text/csv';

/** @param {{take: (text: string) => void, fields: any[]}} props */
export function Source({ take, fields }) {
  const [text, setText] = useState('');
  const names = fields.slice(0, 4).map((field) => field.name);
  const read = async (file) => take(await file.text());
  return html`<div class="stack narrow">
    <${FileDrop} label="CSV file" accept=${ACCEPTED} take=${read}>
      Drop a CSV file or <u>choose one</u>
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
      <button class="primary" disabled=${!text.trim()} onClick=${() => take(text)}>Continue</button>
    </div>
  </div>`;
}
