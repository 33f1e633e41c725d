/** Going to a row by its number. */
import { html, useState } from '../../core/kit.js';
import { openDialog } from '../../core/dialogs.js';
import { Input, fail } from '../../core/ui.js';

const focusGrid = () =>
  /** @type {any} */ (document.querySelector('.grid'))?.focus({ preventScroll: true });

/** Ask for a row, and go there. @param {any} data the rows of a table, see `useRows` */
export async function openJump(data) {
  try {
    const total = await data.count();
    const content = ({ close }) => html`<${Ask} total=${total} close=${close} />`;
    const row = await openDialog(content, { label: 'Go to a row' });
    if (!row) return;
    data.goTo.current(row - 1);
    requestAnimationFrame(focusGrid); // the dialog is gone by then
  } catch (error) {
    fail(error);
  }
}

function Ask({ total, close }) {
  const [text, setText] = useState('');
  const submit = (event) => {
    event.preventDefault();
    close(Number(text));
  };
  return html`<form onSubmit=${submit}>
    <h2>Go to a row</h2>
    <${Input}
      title="Row"
      note=${`1 to ${total.toLocaleString()}`}
      type="number"
      min="1"
      max=${total}
      required
      autofocus
      value=${text}
      onInput=${(event) => setText(event.target.value)}
    />
    <div class="actions">
      <button type="button" onClick=${() => close()}>Cancel</button>
      <button class="primary">Go</button>
    </div>
  </form>`;
}
