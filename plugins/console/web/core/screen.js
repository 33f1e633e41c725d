/** What every screen has: its head, menus, times, and what the browser does with files. */
import { html, useEffect, useRef, useState } from './kit.js';
import { IconButton, Loaded, toast, useLoad } from './ui.js';

const SERVER = document.documentElement.dataset.name;
const COPY = 'Copy as curl, Python or TypeScript';

/** Name the tab of the browser after what is shown. @param {string} title */
export function useTitle(title) {
  useEffect(() => {
    document.title = `${title} · ${SERVER}`;
  }, [title]);
}

/**
 * The request behind a screen as code.
 * @param {{request: {method: string, path: string, query?: object, body?: any}}} props
 */
export function CopyAs({ request }) {
  const show = () => import('../parts/code.js').then((code) => code.openCode(request));
  return html`<${IconButton} glyph="code" label=${COPY} onClick=${show} />`;
}

/** The head of a screen: title, a line below it, the request behind it, and buttons. */
export function Head({ title, children = null, sub = null, request = null }) {
  useTitle(title);
  return html`<header class="head">
    <div>
      <h1>${title}</h1>
      ${sub && html`<p class="dim">${sub}</p>`}
    </div>
    <div class="tools">
      ${request && html`<${CopyAs} request=${request} />`}
      ${children}
    </div>
  </header>`;
}

/**
 * The table of a list. It is scrolled sideways where the page is narrower.
 * @param {any} props `heads` are titles, or pairs of a title and a class; `look` is a class of the
 *   table, and what is not named goes to the box around it.
 */
export function Listing({ heads, look = '', children, ...attributes }) {
  const titled = heads.map((head) => [head].flat());
  return html`<div class="scrollx" ...${attributes}>
    <table class="list ${look}">
      <thead>
        <tr>${titled.map(([title, kind]) => html`<th class=${kind}>${title}</th>`)}</tr>
      </thead>
      <tbody>${children}</tbody>
    </table>
  </div>`;
}

/**
 * A component of a module that is loaded when it is shown. Another one has another `key`.
 * @param {any} props `load` returns the component; the others are given to it.
 */
export function Lazy({ load, ...props }) {
  const loading = useLoad(load, []);
  return html`<${Loaded} of=${loading}>
    ${(Component) => html`<${Component} ...${props} />`}
  <//>`;
}

// --- a button that opens a small menu below it

const ITEMS = 'button, a, input, select';
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

/**
 * @param {{label: any, title: string, children: any, className?: string, align?: string,
 *   tabindex?: number}} props `children` is the content, or a function that gets `close` and returns it.
 */
export function Menu({ label, title, children, className = '', align = 'start', tabindex }) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef(null);
  /** What had the focus before a key opened the menu. */
  const focusedBefore = useRef(null);
  const close = () => {
    setOpen(false);
    if (box.current?.contains(document.activeElement)) focusedBefore.current?.focus();
    focusedBefore.current = null;
  };
  const toggle = (event) => {
    const isByKey = event.detail === 0;
    if (isByKey && !isOpen) focusedBefore.current = document.activeElement;
    setOpen(!isOpen);
  };
  useEffect(() => {
    if (!isOpen) return undefined;
    const popup = box.current.querySelector('.popup');
    keepInside(popup);
    if (focusedBefore.current) popup.querySelector(ITEMS)?.focus();
    const closeOutside = (event) => {
      if (!box.current?.contains(event.target)) close();
    };
    const press = (event) => {
      const step = STEPS[event.key];
      if (step && popup.contains(event.target)) {
        event.preventDefault();
        moveFocus(popup, step);
      }
      if (event.key === 'Escape') {
        focusedBefore.current ??= box.current?.querySelector('button');
        close();
      }
      if (event.key === 'Escape' || step) event.stopPropagation();
    };
    document.addEventListener('mousedown', closeOutside);
    document.addEventListener('keydown', press, true);
    return () => {
      document.removeEventListener('mousedown', closeOutside);
      document.removeEventListener('keydown', press, true);
    };
  }, [isOpen]);
  const readContent = () => (typeof children === 'function' ? children(close) : children);
  return html`<span class="menu" ref=${box}>
    <button
      type="button"
      class=${className}
      title=${title}
      aria-label=${title}
      aria-haspopup="true"
      aria-expanded=${isOpen}
      tabindex=${tabindex}
      onClick=${toggle}
    >
      ${label}
    </button>
    ${isOpen && html`<div class="popup ${align}">${readContent()}</div>`}
  </span>`;
}

/** Move what opens beyond an edge of the window, as on a phone, into it. */
function keepInside(popup) {
  const { left, right } = popup.getBoundingClientRect();
  const shift = Math.max(8 - left, Math.min(0, innerWidth - 8 - right));
  if (shift) popup.style.translate = `${shift}px`;
}

function moveFocus(popup, step) {
  const items = [...popup.querySelectorAll(ITEMS)];
  const at = items.indexOf(document.activeElement);
  items[(at + step + items.length) % items.length]?.focus();
}

// --- times as a reader says them

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];
const SECOND = UNITS[3];

const times = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** A time in the user's language and zone; empty without one, and another text as it is. */
export function formatTime(text) {
  if (!text) return '';
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? String(text) : times.format(time);
}

/** "3 minutes ago", for a time that the title shows in full. */
export function Ago({ at: time }) {
  if (!time) return html`<span class="dim">never</span>`;
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? SECOND;
  const format = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });
  const text = format.format(Math.round(seconds / size), unit);
  return html`<time datetime=${time} title=${formatTime(time)}>${text}</time>`;
}

/**
 * Run something again and again while the page is seen; `deps` begin it again.
 * @param {number} milliseconds @param {() => void} run @param {any[]} deps
 */
export function useEvery(milliseconds, run, deps) {
  /** The function of the last drawing: the one of the first knows only its state. */
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) latest.current();
    }, milliseconds);
    return () => clearInterval(timer);
  }, deps);
}

// --- what the browser does with files and with its clipboard

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

/** The way to the pages of an app, which has a host of its own: they open in a tab of their own. */
export const OpenApp = ({ url }) => html`<a
  class="button primary"
  href=${url}
  rel="noopener noreferrer"
  target="_blank"
  >Open app</a
>`;
