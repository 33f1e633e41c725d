/** A button that opens a small menu below it. */
import { html, useEffect, useRef, useState } from './kit.js';

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

function moveFocus(popup, step) {
  const items = [...popup.querySelectorAll(ITEMS)];
  const at = items.indexOf(document.activeElement);
  items[(at + step + items.length) % items.length]?.focus();
}
