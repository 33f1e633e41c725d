/** Pieces that every screen uses: toasts, errors, what is loading, forms, the theme, icons. */
import { focusNow, html, signal, useEffect, useState } from './kit.js';
import { ApiError } from './api.js';

// --- toasts

/** Milliseconds until a toast goes: long enough to read an error and its request. */
const SHOWN = { ok: 6000, bad: 20_000 };
/** The same for one with a button. */
const SHOWN_WITH_ACTION = 20_000;
/** Toasts that are shown at once; an older one goes. */
const MOST_TOASTS = 4;

const toasts = signal([]);
let lastToast = 0;

/**
 * Show a toast. Of those with the same `group` the newest one is shown.
 * @param {string} text
 * @param {{kind?: 'ok'|'bad', detail?: string, group?: string,
 *   action?: {title: string, run: () => void}}} [options]
 */
export function toast(text, options = {}) {
  lastToast += 1;
  const item = { id: lastToast, text, kind: 'ok', ...options };
  const others = toasts.value.filter(({ group }) => !group || group !== item.group);
  toasts.value = [...others.slice(1 - MOST_TOASTS), item];
}

function closeToast(id) {
  toasts.value = toasts.value.filter((item) => item.id !== id);
}

/** Show an error of the API as a toast: its sentence and the request id. */
export function fail(error) {
  if (error.name === 'AbortError') return;
  const detail = error.requestId ? `request ${error.requestId}` : '';
  toast(error.message, { kind: 'bad', detail });
  if (!(error instanceof ApiError)) console.error(error);
}

/** Run work of a button; what it raises is shown as a toast. Returns whether it was done. */
export async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    fail(error);
    return false;
  }
}

export const Toasts = () => html`<div class="toasts" role="status" aria-live="polite">
  ${toasts.value.map((item) => html`<${Toast} key=${item.id} ...${item} />`)}
</div>`;

/** One toast. Its time does not run while the pointer or the focus is on it. */
function Toast({ id, text, kind, detail, action }) {
  const [isHeld, setHeld] = useState(false);
  useEffect(() => {
    if (isHeld) return undefined;
    const timer = setTimeout(() => closeToast(id), action ? SHOWN_WITH_ACTION : SHOWN[kind]);
    return () => clearTimeout(timer);
  }, [isHeld]);
  const hold = () => setHeld(true);
  const release = () => setHeld(false);
  const run = () => {
    closeToast(id);
    action.run();
  };
  return html`<div
    class="toast ${kind}"
    onMouseEnter=${hold}
    onMouseLeave=${release}
    onFocusIn=${hold}
    onFocusOut=${release}
  >
    <div>
      <div>${text}</div>
      ${detail && html`<code class="dim">${detail}</code>`}
    </div>
    ${action && html`<button class="quiet" onClick=${run}>${action.title}</button>`}
    <${IconButton} glyph="x" label="Close" onClick=${() => closeToast(id)} />
  </div>`;
}

/** A button that is an icon; `label` says what it does, `title` what is shown below the pointer. */
export const IconButton = ({ glyph, label, title = label, isSmall = false, ...attributes }) =>
  html`<button
    type="button"
    class="quiet icon ${isSmall ? 'small' : ''}"
    title=${title}
    aria-label=${label}
    ...${attributes}
  >
    ${icon(glyph)}
  </button>`;

// --- errors, empty, loading

export function ErrorBox({ error, retry }) {
  if (!error) return null;
  return html`<div class="notice bad" role="alert">
    <div>${error.message}</div>
    ${error.requestId && html`<div class="dim">Request <code>${error.requestId}</code></div>`}
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

export const Empty = ({ title, children, glyph = 'inbox' }) => html`<div class="empty">
  ${icon(glyph)}
  <h2>${title}</h2>
  <div class="dim">${children}</div>
</div>`;

export const Loading = () => html`<div class="loading" role="status" aria-label="Loading">
  <i />
  <i />
  <i />
</div>`;

/**
 * Load something and keep it: {data, error, loading, reload}. Runs again when `deps` change; a
 * reply that comes too late is dropped.
 * @returns {{data?: any, error?: any, loading: boolean, reload: () => void, set: (data: any) => void}}
 */
export function useLoad(load, deps) {
  const [state, setState] = useState({ loading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    const run = async () => {
      try {
        const data = await load(abort.signal);
        if (!abort.signal.aborted) setState({ data, loading: false });
      } catch (error) {
        if (!abort.signal.aborted) setState((before) => ({ ...before, error, loading: false }));
      }
    };
    setState((before) => ({ ...before, loading: true, error: null }));
    run();
    return () => abort.abort();
  }, [...deps, round]);
  return {
    ...state,
    reload: () => setRound((number) => number + 1),
    set: (data) => setState({ data, loading: false }),
  };
}

/** Show what `useLoad` has: the error, the loading state, or the children. */
export function Loaded({ of: loaded, children }) {
  if (loaded.error) return html`<${ErrorBox} error=${loaded.error} retry=${loaded.reload} />`;
  if (loaded.data === undefined) return html`<${Loading} />`;
  return children(loaded.data);
}

// --- forms

/**
 * The values of a form, what binds an input to one of them, and what sets all.
 * @returns {[any, (name: string) => object, (form: any) => void]}
 */
export function useForm(start) {
  const [form, setForm] = useState(start);
  const bind = (name) => ({
    name,
    value: form[name],
    onInput: (event) => setForm((before) => ({ ...before, [name]: event.target.value })),
  });
  return [form, bind, setForm];
}

/** An input that keeps what is typed, whatever is rendered meanwhile; `change` gets it when it is complete. */
export function Typed({ value = '', change, ...attributes }) {
  const [typed, setTyped] = useState(null);
  const finish = (event) => {
    setTyped(null);
    change(event.target.value || null);
  };
  return html`<input
    ...${attributes}
    value=${typed ?? value}
    onInput=${(event) => setTyped(event.target.value)}
    onChange=${finish}
  />`;
}

/** An input below its title; `box` is a reference to the input, `note` a word behind the title. */
export const Input = ({ title, note = '', box = null, children = null, ...attributes }) =>
  html`<label class="field">
    <span>${title}${note && html` <i>${note}</i>`}</span>
    <input ref=${box ?? (attributes.autofocus ? focusNow : null)} ...${attributes} />
    ${children}
  </label>`;

/** The input of a new password; see `Input`. */
export const NewPassword = (props) =>
  html`<${Input} title="Password" type="password" autocomplete="new-password" ...${props} />`;

// --- the theme: light, dark, or the system's

export const theme = signal(localStorage.getItem('caudex.theme') ?? 'system');
export function setTheme(name) {
  theme.value = name;
  localStorage.setItem('caudex.theme', name); // so that a reload does not flash
  document.documentElement.dataset.theme = name;
}

// --- icons: lines on a grid of 24, one path each

const PATHS = {
  inbox: 'M4 13l3-8h10l3 8v6H4zM4 13h5a3 3 0 0 0 6 0h5',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5',
  table: 'M4 5h16v14H4zM4 10h16M10 10v9',
  app: 'M5 5h6v6H5zM13 5h6v6h-6zM5 13h6v6H5zM13 13h6v6h-6z',
  users:
    'M9 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM3 20c0-4 3-5.5 6-5.5s6 1.5 6 5.5M16 6a3 3 0 0 1 0 6M18 15c2 .7 3 2.3 3 5',
  key: 'M8 11a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11 12l8-8M16 7l3 3',
  shield: 'M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 12l2 2 4-4',
  jobs: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.5l3 2',
  worker: 'M6 6h12v12H6zM10 10h4v4h-4zM9 3v3M15 3v3M9 18v3M15 18v3M3 9h3M3 15h3M18 9h3M18 15h3',
  log: 'M4 5h16M4 10h10M4 15h16M4 20h7',
  audit: 'M6 3h9l4 4v14H6zM9 12h6M9 16h6M9 8h3',
  secret: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3M12 14.5v2',
  plug: 'M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4',
  health: 'M3 12h4l2.5-6 4 12 2.5-6h5',
  chart: 'M4 20h16M7 20v-7M12 20V5M17 20v-11',
  board: 'M4 5h4v14H4zM10 5h4v9h-4zM16 5h4v6h-4z',
  calendar: 'M4 6h16v14H4zM4 10h16M8 3v4M16 3v4',
  image: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01',
  plus: 'M12 5v14M5 12h14',
  x: 'M6 6l12 12M18 6L6 18',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  down: 'M7 10l5 5 5-5',
  right: 'M10 7l5 5-5 5',
  left: 'M14 7l-5 5 5 5',
  up: 'M7 14l5-5 5 5',
  filter: 'M4 6h16l-6 7v6l-4-2v-4z',
  columns: 'M4 5h16v14H4zM9.3 5v14M14.6 5v14',
  code: 'M8 7l-5 5 5 5M16 7l5 5-5 5',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  edit: 'M5 19l1-4L16 5l3 3L9 18z',
  trash: 'M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13',
  link: 'M10 14l4-4M9 8l2-2a4 4 0 0 1 6 6l-2 2M15 16l-2 2a4 4 0 0 1-6-6l2-2',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M19 5l-1.5 1.5M6.5 17.5L5 19',
  moon: 'M20 14A8.5 8.5 0 0 1 10 4a8.5 8.5 0 1 0 10 10z',
  screen: 'M3 5h18v11H3zM9 20h6M12 16v4',
  out: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
  menu: 'M4 7h16M4 12h16M4 17h16',
  star: 'M12 4l2.5 5 5.5.8-4 4 1 5.5-5-2.6-5 2.6 1-5.5-4-4 5.5-.8z',
  play: 'M8 5l11 7-11 7z',
  stop: 'M7 7h10v10H7z',
  pause: 'M8 5v14M16 5v14',
  refresh: 'M19 12a7 7 0 1 1-2-5M19 4v4h-4',
  book: 'M5 4h11a3 3 0 0 1 3 3v13H8a3 3 0 0 1-3-3zM5 17a3 3 0 0 1 3-3h11',
  history: 'M4 12a8 8 0 1 0 2.5-5.8M4 5v4h4M12 8v4.5l3 2',
  copy: 'M9 9h11v11H9zM15 9V4H4v11h5',
  home: 'M4 11l8-7 8 7v9h-5v-6H9v6H4z',
  up2: 'M12 19V5M6 11l6-6 6 6',
  upload: 'M12 16V4M7 9l5-5 5 5M4 20h16',
};

/** @param {string} name One of PATHS. */
export const icon = (name) => html`<svg class="i" viewBox="0 0 24 24" aria-hidden="true">
  <path d=${PATHS[name] ?? PATHS.plug} />
</svg>`;
