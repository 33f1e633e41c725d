/** Small pieces of every screen: icons, toasts, errors, dialogs, loading states, the theme. */
import { html, signal, useEffect, useLayoutEffect, useRef, useState } from './kit.js';
import { ApiError } from './api.js';

// --- toasts

const toasts = signal([]);
let count = 0;

/**
 * @param {string} text
 * @param {{kind?: 'ok'|'bad', detail?: string, action?: {title: string, run: () => void}}} [more]
 */
export function toast(text, more = {}) {
  const id = ++count;
  const drop = () => {
    toasts.value = toasts.value.filter((t) => t.id !== id);
  };
  toasts.value = [...toasts.value.slice(-3), { id, text, drop, kind: 'ok', ...more }];
  if (more.kind !== 'bad') setTimeout(drop, 6000);
}

/** Show an error of the API as a toast: its sentence and the request id. */
export function fail(error) {
  if (error.name === 'AbortError') return;
  toast(error.message, {
    kind: 'bad',
    detail: error.requestId ? `request ${error.requestId}` : '',
  });
  if (!(error instanceof ApiError)) console.error(error);
}

export const Toasts = () => html`<div class="toasts" role="status" aria-live="polite">
  ${toasts.value.map(
    (t) => html`<div class="toast ${t.kind}" key=${t.id}>
      <div><div>${t.text}</div>${t.detail && html`<code class="dim">${t.detail}</code>`}</div>
      ${
        t.action &&
        html`<button
          class="quiet"
          onClick=${() => {
            t.drop();
            t.action.run();
          }}
        >
          ${t.action.title}
        </button>`
      }
      <button class="quiet icon" aria-label="Close" onClick=${t.drop}>${icon('x')}</button>
    </div>`,
  )}
</div>`;

// --- errors, empty, loading

export function ErrorBox({ error, retry }) {
  if (!error) return null;
  return html`<div class="notice bad" role="alert">
    <div>${error.message}</div>
    ${error.requestId && html`<div class="dim">Request <code>${error.requestId}</code></div>`}
    ${retry && html`<button onClick=${retry}>Try again</button>`}
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
  const [state, set] = useState({ loading: true });
  const [round, again] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    set((s) => ({ ...s, loading: true, error: null }));
    Promise.resolve()
      .then(() => load(abort.signal))
      .then(
        (data) => abort.signal.aborted || set({ data, loading: false }),
        (error) => abort.signal.aborted || set((s) => ({ ...s, error, loading: false })),
      );
    return () => abort.abort();
  }, [...deps, round]);
  return {
    ...state,
    reload: () => again((n) => n + 1),
    set: (data) => set({ data, loading: false }),
  };
}

/** Show what `useLoad` has: the error, the loading state, or the children. */
export function Loaded({ of, children }) {
  if (of.error) return html`<${ErrorBox} error=${of.error} retry=${of.reload} />`;
  if (of.data === undefined) return html`<${Loading} />`;
  return children(of.data);
}

// --- forms

/**
 * The values of a form, what binds an input to one of them, and what sets all.
 * @returns {[any, (name: string) => object, (form: any) => void]}
 */
export function useForm(start) {
  const [form, set] = useState(start);
  const bind = (name) => ({
    name,
    value: form[name],
    onInput: (e) => set((f) => ({ ...f, [name]: e.target.value })),
  });
  return [form, bind, set];
}

/** An input that keeps what is typed, whatever is rendered meanwhile; `change` gets it when it is complete. */
export function Typed({ value = '', change, ...rest }) {
  const [typed, type] = useState(null);
  return html`<input
    ...${rest}
    value=${typed ?? value}
    onInput=${(e) => type(e.target.value)}
    onChange=${(e) => (type(null), change(e.target.value || null))}
  />`;
}

/** An input below its title; `box` is a reference to the input, `note` a word behind the title. */
export const Input = ({ title, note = '', box = null, children = null, ...rest }) => html`<label
  class="field"
>
  <span>${title}${note && html` <i>${note}</i>`}</span>
  <input ref=${box} ...${rest} />
  ${children}
</label>`;

/** The input of a new password; see `Input`. */
export const NewPassword = (props) =>
  html`<${Input} title="Password" type="password" autocomplete="new-password" ...${props} />`;

// --- dialogs

const dialogs = signal([]);

/**
 * Open a dialog; `content` is a component that gets `close`. Resolves with what that was called with.
 * @returns {Promise<any>}
 */
export function openDialog(content, { wide = false, label = 'Dialog' } = {}) {
  return new Promise((done) => {
    const id = ++count;
    const close = (value) => {
      dialogs.value = dialogs.value.filter((d) => d.id !== id);
      done(value);
    };
    dialogs.value = [...dialogs.value, { id, content, close, wide, label }];
  });
}

function Dialog({ content: Content, close, wide, label }) {
  const box = useRef(null);
  // Before the browser paints: a key that is pressed at once goes to the dialog.
  useLayoutEffect(() => {
    /** @type {any} */
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.focus?.();
  }, []);
  const outside = (e) => {
    if (e.target === box.current) close();
  };
  return html`<dialog
    ref=${box}
    class=${wide ? 'wide' : ''}
    aria-label=${label}
    onMouseDown=${outside}
    onCancel=${(e) => {
      e.preventDefault();
      close();
    }}
  >
    <div class="dialog"><${Content} close=${close} /></div>
  </dialog>`;
}

export const Dialogs = () => dialogs.value.map((d) => html`<${Dialog} key=${d.id} ...${d} />`);

/**
 * Ask before something is lost. With `typed` that word must be typed.
 * @returns {Promise<boolean>}
 */
export function confirm(title, text, { yes = 'Continue', danger = true, typed = '' } = {}) {
  return openDialog(
    ({ close }) => {
      const [word, setWord] = useState('');
      const submit = (e) => {
        e.preventDefault();
        if (!typed || word === typed) close(true);
      };
      return html`<form onSubmit=${submit}>
        <h2>${title}</h2>
        <p>${text}</p>
        ${
          typed &&
          html`<label class="field">
            <span>Type <b>${typed}</b> to confirm</span>
            <input value=${word} onInput=${(e) => setWord(e.target.value)} autocomplete="off" />
          </label>`
        }
        <div class="actions">
          <button type="button" onClick=${() => close(false)}>Cancel</button>
          <button
            class=${danger ? 'danger' : 'primary'}
            disabled=${typed && word !== typed}
            autofocus=${!typed}
          >
            ${yes}
          </button>
        </div>
      </form>`;
    },
    { label: title },
  ).then(Boolean);
}

/** A button that opens a small menu below it. */
export function Menu({ label, title, children, className = '', align = 'start' }) {
  const [open, set] = useState(false);
  const box = useRef(null);
  useEffect(() => {
    if (!open) return undefined;
    const away = (e) => {
      if (!box.current?.contains(e.target)) set(false);
    };
    const key = (e) => {
      if (e.key === 'Escape') {
        set(false);
        box.current?.querySelector('button')?.focus();
        e.stopPropagation();
      }
    };
    document.addEventListener('mousedown', away);
    document.addEventListener('keydown', key, true);
    return () => {
      document.removeEventListener('mousedown', away);
      document.removeEventListener('keydown', key, true);
    };
  }, [open]);
  return html`<span class="menu" ref=${box}>
    <button
      type="button"
      class=${className}
      title=${title}
      aria-label=${title}
      aria-haspopup="true"
      aria-expanded=${open}
      onClick=${() => set(!open)}
    >
      ${label}
    </button>
    ${
      open &&
      html`<div class="popup ${align}">
        ${typeof children === 'function' ? children(() => set(false)) : children}
      </div>`
    }
  </span>`;
}

/** Let the browser save a file. @param {Blob} file @param {string} name */
export function saveAs(file, name) {
  const href = URL.createObjectURL(file);
  Object.assign(document.createElement('a'), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

/** Copy text, and say so. */
export async function copy(text, said = 'Copied') {
  await navigator.clipboard.writeText(text).then(
    () => toast(said),
    () => toast('The browser did not allow copying.', { kind: 'bad' }),
  );
}

const COPY = 'Copy as curl, Python or TypeScript';

/**
 * The request behind a screen as code.
 * @param {{request: {method: string, path: string, query?: object, body?: any}}} props
 */
export const CopyAs = ({ request }) => html`<button
  class="quiet icon"
  title=${COPY}
  aria-label=${COPY}
  onClick=${() => import('../parts/code.js').then((m) => m.openCode(request))}
>
  ${icon('code')}
</button>`;

/** The head of a screen: title, a line below it, the request behind it, and buttons. */
export const Head = ({ title, children, sub, request }) => html`<header class="head">
  <div><h1>${title}</h1>${sub && html`<p class="dim">${sub}</p>`}</div>
  <div class="tools">${request && html`<${CopyAs} request=${request} />`}${children}</div>
</header>`;

export const when = (text) =>
  text ? new Date(text).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' }) : '';
/** "3 minutes ago", for a time that the title shows in full. */
export function Ago({ at }) {
  if (!at) return html`<span class="dim">never</span>`;
  const seconds = (Date.parse(at) - Date.now()) / 1000;
  /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
  const units = [
    ['day', 86400],
    ['hour', 3600],
    ['minute', 60],
    ['second', 1],
  ];
  const [unit, size] = units.find(([, s]) => Math.abs(seconds) >= s) ?? units[3];
  const said = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' }).format(
    Math.round(seconds / size),
    unit,
  );
  return html`<time datetime=${at} title=${when(at)}>${said}</time>`;
}

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
