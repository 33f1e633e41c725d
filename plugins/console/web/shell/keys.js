/** The keyboard of the whole console: the palette, going to places, finding. */
import { html } from '../core/kit.js';
import { openDialog } from '../core/dialogs.js';
import { go } from '../core/router.js';
import { findPlace } from './places.js';

/** Milliseconds within which a second key names the place after `g`. */
const PAIR = 1200;
/** When `g` was pressed. */
let goPressed = -Infinity;

const KEYS = [
  ['Ctrl K', 'Search everything'],
  ['g d', 'First table of the app'],
  ['g a', 'Apps'],
  ['g j', 'Jobs'],
  ['g l', 'Logs'],
  ['g p', 'Plugins'],
  ['/', 'Filter the table'],
  ['j  k', 'Next or previous row'],
  ['Enter', 'Open the record'],
  ['e', 'Edit the cell'],
  ['x', 'Select the row'],
  ['Ctrl A', 'Select all rows that are loaded'],
  ['s', 'Sort by the column'],
  ['m', 'Menu of the column'],
  ['Esc', 'Leave a field or dialog'],
  ['?', 'This list'],
];

/** Its module is loaded when it is used. */
export const openPalette = () => import('./palette.js').then((palette) => palette.openPalette());

/** Show which keys there are. */
export function openKeys() {
  const content = ({ close }) => html`<h2>Keyboard</h2>
    <dl class="keys">
      ${KEYS.map(
        ([keys, meaning]) => html`<dt>${keys.split(/ +/).map((key) => html`<kbd>${key}</kbd>`)}</dt>
          <dd>${meaning}</dd>`,
      )}
    </dl>
    <div class="actions"><button autofocus onClick=${() => close()}>Close</button></div>`;
  openDialog(content, { label: 'Keyboard' });
}

export function listen() {
  addEventListener('keydown', (/** @type {any} */ event) => {
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      openPalette();
      return;
    }
    const isTyping = event.target.closest('input, textarea, select, [contenteditable]');
    const isCovered = document.querySelector('dialog[open]');
    if (isCommand || event.altKey || isTyping || isCovered) return;
    press(event);
  });
}

/** A key that is neither typed into something nor a command of the browser. */
function press(event) {
  if (event.timeStamp - goPressed < PAIR) {
    goPressed = -Infinity;
    const place = findPlace(event.key);
    if (!place) return;
    event.preventDefault();
    go(place);
    return;
  }
  if (event.key === 'g') goPressed = event.timeStamp;
  if (event.key === '?') openKeys();
  if (event.key === '/') focusFilter(event);
}

function focusFilter(event) {
  /** @type {HTMLElement} */
  const box = document.querySelector('[data-filter]');
  if (!box) return;
  event.preventDefault();
  box.focus();
}
