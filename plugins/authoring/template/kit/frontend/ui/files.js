/** Files of a record: dropped or chosen, uploaded with progress, previewed, opened and removed. */
import { button, element } from './elements.js';
import { attempt, showError } from './messages.js';
import { fileSize } from './texts.js';

const LARGEST_PREVIEW = 5_000_000;
/** Milliseconds after which the memory of an opened file is given back. */
const OPENED_FOR = 60_000;

/**
 * Make the list of a record's files. `save` writes the new list into the record; it is null for who
 * may only read. `accept` and `maxSize` are what the manifest declares.
 */
export function fileList({ app, files, accept, maxSize, limit = 20, save = null }) {
  const items = files.map((file) => fileItem(app, files, file, save));
  const list = element('ul', { class: 'files' }, items);
  if (save === null) return files.length > 0 ? list : element('p', { class: 'muted' }, 'No files.');
  const zone = files.length < limit ? dropZone({ app, files, accept, maxSize, save }) : null;
  return element('div', {}, list, zone);
}

function fileItem(app, files, file, save) {
  const open = button(file.name, () => attempt(open, () => openFile(app, file)), { class: 'link' });
  const remove =
    save &&
    button('✕', () => attempt(remove, () => save(files.filter((other) => other.id !== file.id))), {
      class: 'plain',
      'aria-label': `Remove ${file.name}`,
    });
  const size = element('small', { class: 'muted' }, fileSize(file.size));
  const item = element('li', {}, preview(app, file), element('div', {}, open, size), remove);
  return item;
}

/** Make a small picture of an image, and of other files the end of their names. */
function preview(app, file) {
  const ending = file.name.includes('.') ? file.name.split('.').pop().slice(0, 4) : 'file';
  const frame = element('span', { class: 'preview', 'aria-hidden': 'true' }, ending);
  if (!file.type.startsWith('image/') || file.size > LARGEST_PREVIEW) return frame;
  app.files.download(file.id).then(
    (content) => {
      const address = URL.createObjectURL(content);
      const image = element('img', { src: address, alt: '' });
      image.addEventListener('load', () => URL.revokeObjectURL(address));
      frame.replaceChildren(image);
    },
    () => undefined, // without the picture the name is there
  );
  return frame;
}

async function openFile(app, file) {
  const content = await app.files.download(file.id);
  const address = URL.createObjectURL(content);
  element('a', { href: address, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(address), OPENED_FOR);
}

function dropZone({ app, files, accept, maxSize, save }) {
  const progress = element('progress', { hidden: true, max: '1', 'aria-label': 'Upload' });
  const input = element('input', { type: 'file', accept, class: 'visually-hidden' });
  const words = element('span', {}, element('strong', {}, 'Choose a file'), ' or drop it here');
  const limits = element('small', { class: 'muted' }, `at most ${fileSize(maxSize)}`);
  const zone = element('label', { class: 'drop' }, input, words, limits, progress);

  async function send(file) {
    if (file.size > maxSize) {
      showError(new Error(`${file.name} is larger than ${fileSize(maxSize)}`));
      return;
    }
    progress.hidden = false;
    input.disabled = true;
    try {
      const onProgress = (sent, size) => (progress.value = size > 0 ? sent / size : 1);
      const uploaded = await app.files.upload(file, { onProgress });
      await save([...files, uploaded]);
    } catch (error) {
      showError(error);
    } finally {
      progress.hidden = true;
      input.disabled = false;
    }
  }

  input.addEventListener('change', () => input.files[0] && send(input.files[0]));
  zone.addEventListener('dragover', (event) => {
    event.preventDefault();
    zone.classList.add('over');
  });
  zone.addEventListener('dragleave', () => zone.classList.remove('over'));
  zone.addEventListener('drop', (event) => {
    event.preventDefault();
    zone.classList.remove('over');
    const [file] = event.dataTransfer.files;
    if (file) send(file);
  });
  return zone;
}
