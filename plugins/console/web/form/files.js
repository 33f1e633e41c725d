/** The control of a field of managed files: a place to drop them on, previews, and progress. */
import { html, useEffect, useRef, useState } from '../core/kit.js';
import { api, upload, url } from '../core/api.js';
import { parse, stringify } from '../core/json.js';
import { IconButton, icon } from '../core/ui.js';
import { formatSize, listFiles } from '../parts/values.js';

/** Bytes of an image that is shown as it is, where the server makes no small pictures. */
const LARGEST_PREVIEW = 5_000_000;
const PREVIEWED = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

/** Return a small picture of a file, or the file where the server makes none. */
async function loadPicture(file, appId, size, signal) {
  const path = url`/api/v1/apps/${appId}/files/${file.id}`;
  const options = { blob: true, signal };
  try {
    return await api('GET', `${path}?thumb=${size}`, options);
  } catch (error) {
    if (error.status !== 400 || file.size > LARGEST_PREVIEW) throw error;
    return api('GET', path, options);
  }
}

/** A small picture of an image, loaded with the token; a sign for other files. */
export function Preview({ file, appId, size = '96x96' }) {
  const [address, setAddress] = useState('');
  useEffect(() => {
    if (!PREVIEWED.includes(file.type)) return undefined;
    const abort = new AbortController();
    let objectUrl = '';
    loadPicture(file, appId, size, abort.signal).then(
      (blob) => {
        objectUrl = URL.createObjectURL(blob);
        setAddress(objectUrl);
      },
      () => {}, // the name is enough
    );
    return () => {
      abort.abort();
      if (objectUrl) URL.revokeObjectURL(objectUrl);
    };
  }, [file.id]);
  if (!address) return html`<span class="file-kind">${icon('audit')}</span>`;
  return html`<img class="file-preview" src=${address} alt="" />`;
}

/**
 * The control of a field of files: a place to drop them on, what it holds, and how far an upload
 * is. `value` is JSON as forms keep it.
 * @param {{field: any, value: string, onChange: (text: string) => void, appId: string, id: string,
 *   label?: string}} props
 */
export function FileControl({ field, value, onChange, appId, id, label }) {
  const isList = field.type === '[file]';
  const files = listFiles(value ? parse(value) : null);
  const current = useRef(files);
  current.current = files;
  const [sending, setSending] = useState(null);
  const [problem, setProblem] = useState('');
  const [isOver, setOver] = useState(false);

  const put = (next) => {
    current.current = next;
    const chosen = isList ? next : next[0];
    onChange(next.length ? stringify(chosen) : '');
  };

  const send = async (list) => {
    const chosen = isList ? list : list.slice(0, 1);
    setProblem('');
    for (const file of chosen) {
      setSending({ name: file.name, part: 0 });
      try {
        const path = url`/api/v1/apps/${appId}/files?name=${file.name}`;
        const sent = await upload(path, file, (part) => setSending({ name: file.name, part }));
        put(isList ? [...current.current, sent] : [sent]);
      } catch (error) {
        setProblem(error.message);
        break;
      }
    }
    setSending(null);
  };

  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    send([...event.dataTransfer.files]);
  };

  return html`<div
    class=${`files ${isOver ? 'over' : ''}`}
    onDragOver=${(event) => {
      event.preventDefault();
      setOver(true);
    }}
    onDragLeave=${() => setOver(false)}
    onDrop=${drop}
  >
    ${files.map(
      (file) => html`<div class="file" key=${file.id}>
        <${Preview} file=${file} appId=${appId} />
        <span class="cut" title=${file.type}>${file.name}</span>
        <span class="dim">${formatSize(file.size)}</span>
        <${IconButton}
          isSmall
          glyph="x"
          label=${`Remove ${file.name}`}
          onClick=${() => put(current.current.filter((other) => other.id !== file.id))}
        />
      </div>`,
    )}
    ${
      sending &&
      html`<progress
        max="1"
        value=${sending.part}
        aria-label=${`Sending ${sending.name}`}
      />`
    }
    ${problem && html`<div class="problem" role="alert">${problem}</div>`}
    <input
      id=${id}
      type="file"
      aria-label=${label}
      accept=${field.types.join(',')}
      multiple=${isList}
      disabled=${sending !== null}
      onChange=${(event) => {
        send([...event.target.files]);
        event.target.value = '';
      }}
    />
  </div>`;
}

// --- a place to drop a file on, or to choose one

/**
 * @param {{label: string, accept?: string, disabled?: boolean, take: (file: File) => void,
 *   children: any}} props The children say what is expected.
 */
export function FileDrop({ label, accept, disabled = false, take, children }) {
  const [isOver, setOver] = useState(false);
  const hover = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    const [file] = event.dataTransfer.files;
    if (file && !disabled) take(file);
  };
  const choose = (event) => {
    const [file] = event.target.files;
    if (file) take(file);
    // So that the same file can be chosen again.
    event.target.value = '';
  };
  return html`<label
    class="drop ${isOver ? 'over' : ''}"
    onDragOver=${hover}
    onDragLeave=${() => setOver(false)}
    onDrop=${drop}
  >
    ${icon('upload')}
    <span>${children}</span>
    <input
      type="file"
      class="hide"
      accept=${accept}
      aria-label=${label}
      disabled=${disabled}
      onChange=${choose}
    />
  </label>`;
}
