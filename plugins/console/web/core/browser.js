/** What the browser does with files and with its clipboard. */
import { toast } from './ui.js';

/** Let the browser save a file. @param {Blob} file @param {string} name */
export function saveAs(file, name) {
  const address = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Copy text, and say so. */
export async function copy(text, message = 'Copied') {
  try {
    await navigator.clipboard.writeText(text);
    toast(message);
  } catch {
    toast('The browser did not allow copying.', { kind: 'bad' });
  }
}
