/** Dialogs: what is shown over a screen, and asking before something is lost. */
import { html, signal, useEffect, useLayoutEffect, useRef, useState } from './kit.js';
import { guards } from './router.js';
import { Input } from './ui.js';

const dialogs = signal([]);
let lastDialog = 0;

/**
 * Open a dialog; `content` is a component that gets `close`. Resolves with what that was called with.
 * @returns {Promise<any>}
 */
export function openDialog(content, { wide = false, label = 'Dialog' } = {}) {
  lastDialog += 1;
  const id = lastDialog;
  return new Promise((resolve) => {
    const close = (value) => {
      dialogs.value = dialogs.value.filter((dialog) => dialog.id !== id);
      resolve(value);
    };
    dialogs.value = [...dialogs.value, { id, content, close, wide, label }];
  });
}

export const Dialogs = () =>
  dialogs.value.map((dialog) => html`<${Dialog} key=${dialog.id} ...${dialog} />`);

function Dialog({ content: Content, close, wide, label }) {
  const box = useRef(null);
  // Before the browser paints: a key that is pressed at once goes to the dialog.
  useLayoutEffect(() => {
    /** @type {any} */
    const focusedBefore = document.activeElement;
    const element = box.current;
    element.showModal();
    return () => {
      element.close(); // what is behind an open one takes no focus
      focusedBefore?.focus?.({ preventScroll: true });
    };
  }, []);
  const closeOutside = (event) => {
    if (event.target === box.current) close();
  };
  const cancel = (event) => {
    event.preventDefault();
    close();
  };
  return html`<dialog
    ref=${box}
    class=${wide ? 'wide' : ''}
    aria-label=${label}
    onMouseDown=${closeOutside}
    onCancel=${cancel}
  >
    <div class="dialog"><${Content} close=${close} /></div>
  </dialog>`;
}

/**
 * Ask before something is lost. With `typed` that word must be typed.
 * @returns {Promise<boolean>}
 */
export async function confirm(title, text, { yes = 'Continue', danger = true, typed = '' } = {}) {
  const question = { title, text, yes, danger, typed };
  const content = ({ close }) => html`<${Question} ...${question} close=${close} />`;
  const answer = await openDialog(content, { label: title });
  return Boolean(answer);
}

/**
 * Ask which version is kept of what another user, or another tab, has changed meanwhile.
 * @param {{title: string, text: string, rows: [name: string, theirs: any, mine: any][]}} question
 * @returns {Promise<boolean>} whether the own version is kept; both are shown
 */
export async function askVersion(question) {
  const content = ({ close }) => html`<${Versions} ...${question} close=${close} />`;
  const answer = await openDialog(content, { label: 'Conflict', wide: true });
  return Boolean(answer);
}

function Versions({ title, text, rows, close }) {
  return html`<h2>${title}</h2>
    <p>${text}</p>
    <table class="list">
      <thead>
        <tr><th /><th>Now on the server</th><th>Yours</th></tr>
      </thead>
      <tbody>
        ${rows.map(
          ([name, theirs, mine]) => html`<tr key=${name}>
            <td>${name}</td>
            <td><del>${theirs}</del></td>
            <td><ins>${mine}</ins></td>
          </tr>`,
        )}
      </tbody>
    </table>
    <div class="actions">
      <button autofocus onClick=${() => close(false)}>Keep the server's</button>
      <button class="primary" onClick=${() => close(true)}>Save mine</button>
    </div>`;
}

function Question({ title, text, yes, danger, typed, close }) {
  const [word, setWord] = useState('');
  const isSure = !typed || word === typed;
  const submit = (event) => {
    event.preventDefault();
    if (isSure) close(true);
  };
  return html`<form onSubmit=${submit}>
    <h2>${title}</h2>
    <p>${text}</p>
    ${
      typed &&
      html`<${Input}
        title=${html`Type <b>${typed}</b> to confirm`}
        value=${word}
        onInput=${(event) => setWord(event.target.value)}
        autocomplete="off"
      />`
    }
    <div class="actions">
      <button type="button" onClick=${() => close(false)}>Cancel</button>
      <button class=${danger ? 'danger' : 'primary'} disabled=${!isSure} autofocus=${!typed}>
        ${yes}
      </button>
    </div>
  </form>`;
}

// --- changes that are not saved: a page that has some is not left without asking

const TEXT = 'What you changed on this page is not saved.';

/** Ask before this page is left while it has unsaved changes. @param {boolean} hasChanges */
export function useUnsaved(hasChanges) {
  useEffect(() => {
    if (!hasChanges) return undefined;
    const ask = () => confirm('Leave without saving?', TEXT, { yes: 'Leave' });
    const warn = (event) => event.preventDefault();
    guards.add(ask);
    addEventListener('beforeunload', warn);
    return () => {
      guards.delete(ask);
      removeEventListener('beforeunload', warn);
    };
  }, [hasChanges]);
}
