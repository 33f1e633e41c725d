/** The cells of a paste that cannot be saved: each with its text, to be corrected. */
import { html, useState } from '../../core/kit.js';
import { openDialog } from '../../core/dialogs.js';
import { copy } from '../../core/screen.js';
import { writeText } from '../grid/blocks.js';
import { explainLock, planAgain } from '../grid/reading.js';

/** Cells that can be corrected one by one; of more a correction of the source is less work. */
const MOST_LISTED = 100;

/**
 * Show what is wrong, by row and column. Nothing of the paste is saved until the user has decided.
 * @param {{refused: any[], others: number, isMore: boolean, nameCell: (cell: any) => string}} question
 *   `others` counts the cells that can be saved; `isMore` says that more may be wrong
 * @returns {Promise<{changes: any[], refused: any[]}|undefined>} what is to be tried: the corrected
 *   cells, or none of them; undefined where nothing is to be saved
 */
export function askRefused(question) {
  const content = ({ close }) => html`<${Refused} ...${question} close=${close} />`;
  return openDialog(content, { label: 'Cells that cannot be saved', wide: true });
}

function Refused({ refused, others, isMore, nameCell, close }) {
  const [texts, setTexts] = useState(refused.map(({ text }) => text));
  const type = (index, text) =>
    setTexts((before) => before.map((former, at) => (at === index ? text : former)));
  const tryAgain = (event) => {
    event.preventDefault();
    const plans = refused.map((cell, index) => planAgain(cell, texts[index]));
    close({
      changes: plans.flatMap((plan) => plan.changes),
      refused: plans.flatMap((plan) => plan.refused),
    });
  };
  const copyAll = () => {
    const lines = refused.map((cell, index) => [nameCell(cell), texts[index], cell.problem]);
    copy(writeText(lines));
  };
  const count = refused.length.toLocaleString();
  const unlisted = refused.length - MOST_LISTED;
  return html`<form onSubmit=${tryAgain}>
    <h2>${count} ${refused.length === 1 ? 'cell' : 'cells'} cannot be saved</h2>
    <p>
      Nothing is saved yet.
      ${others > 0 && ` ${others.toLocaleString()} other ${others === 1 ? 'cell is' : 'cells are'} fine.`}
      ${isMore && ' There may be more that are wrong.'}
    </p>
    <ul class="plain refusals">
      ${refused.slice(0, MOST_LISTED).map(
        (cell, index) => html`<li key=${index}>
          <label class="field">
            <span>${nameCell(cell)}</span>
            <${Correction}
              cell=${cell}
              text=${texts[index]}
              type=${(text) => type(index, text)}
            />
          </label>
          <div class="problem">${cell.problem}</div>
        </li>`,
      )}
      ${unlisted > 0 && html`<li class="dim">and ${unlisted.toLocaleString()} more</li>`}
    </ul>
    <div class="actions">
      <button type="button" class="quiet" onClick=${copyAll}>Copy these</button>
      <span class="grow" />
      <button type="button" onClick=${() => close()}>Cancel</button>
      ${
        others > 0 &&
        html`<button type="button" onClick=${() => close({ changes: [], refused: [] })}>
          Save the others
        </button>`
      }
      <button class="primary">Try again</button>
    </div>
  </form>`;
}

function Correction({ cell, text, type }) {
  const common = {
    value: text,
    disabled: Boolean(explainLock(cell.field)),
    onInput: (event) => type(event.target.value),
  };
  const hasLines = cell.text.includes('\n');
  return hasLines ? html`<textarea rows="3" ...${common} />` : html`<input ...${common} />`;
}
