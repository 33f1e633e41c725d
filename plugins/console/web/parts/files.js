/** Managed files: what a value of a record holds, in a line. */
import { html } from '../core/kit.js';
import { post, url } from '../core/api.js';
import { fail, icon } from '../core/ui.js';

const UNITS = ['bytes', 'kB', 'MB', 'GB'];

/** Whether a field holds files of the server; a `file` that declares nothing is text. */
export const isManaged = (field) => field.types !== undefined && /^\[?file\]?$/.test(field.type);

/** The files of a value: of a list, of a single file, of none. */
export const listFiles = (value) => [value ?? []].flat();

/** A size in words. @param {number} bytes */
export function formatSize(bytes) {
  let amount = Number(bytes);
  let unit = 0;
  while (amount >= 1000 && unit < UNITS.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && amount < 10 ? 1 : 0;
  return `${amount.toFixed(digits)} ${UNITS[unit]}`;
}

/** Save a file to the user's disk, by a link that is good for a minute. */
async function download(appId, file) {
  try {
    const path = url`/api/v1/apps/${appId}/files/${file.id}/link`;
    const link = await post(path, { seconds: 60 });
    const anchor = document.createElement('a');
    anchor.href = `${link.url}&download=1`;
    anchor.rel = 'noreferrer';
    anchor.click();
  } catch (error) {
    fail(error);
  }
}

/** The files of a record in one line; a click saves one. */
export function FileNames({ value, appId }) {
  return html`<span class="cut">
    ${listFiles(value).map(
      (file) => html`<button
        type="button"
        class="link file-name"
        key=${file.id}
        title=${`${file.name}, ${file.type}, ${formatSize(file.size)}`}
        onClick=${(event) => {
          event.stopPropagation();
          download(appId, file);
        }}
      >
        ${icon('audit')} ${file.name}
      </button>`,
    )}
  </span>`;
}
