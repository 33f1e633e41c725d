/** Short messages at the edge of the window; a screen reader reads them. */
import { button, element } from './elements.js';

const SHOWN_FOR = 6000;

/** Say that something is done. */
export function notify(text) {
  const message = element('div', { class: 'message' }, text);
  shelf('status').append(message);
  setTimeout(() => message.remove(), SHOWN_FOR);
}

/** Say what has failed; it stays until it is closed. */
export function showError(error) {
  const text = error.message || 'Something went wrong.';
  const message = element('div', { class: 'message error' }, element('span', {}, sentence(text)));
  message.append(button('✕', () => message.remove(), { 'aria-label': 'Close', class: 'plain' }));
  shelf('alert').append(message);
}

/** Run work of a button, which cannot be pressed meanwhile; a failure is shown. */
export async function attempt(control, work) {
  control.disabled = true;
  try {
    return await work();
  } catch (error) {
    showError(error);
    return undefined;
  } finally {
    control.disabled = false;
  }
}

/** Begin with a capital letter and end with a full stop, as the server's sentences do not. */
export function sentence(text) {
  const start = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

/** Return the place of messages with a role; it exists before the first one, or screen readers miss it. */
function shelf(role) {
  return document.querySelector(`#messages [role=${role}]`);
}
