/** Choosing a record to link to: the server searches, so a table of any size works. */
import { focusNow, html, useEffect, useRef, useState } from '../core/kit.js';
import { may, words } from '../core/store.js';
import { icon, openDialog } from '../core/ui.js';
import { findRecords, titlesOf } from './titles.js';

/**
 * @param {{appId: string, target: string, value: string|null,
 *   onChange: (id: string|null, title?: string) => void, id?: string, label?: string,
 *   autofocus?: boolean, onCancel?: () => void}} props
 */
export function Picker({ appId, target, value, onChange, id, label, autofocus, onCancel }) {
  const [title, setTitle] = useState('');
  const [text, setText] = useState(autofocus ? '' : null);
  const [found, setFound] = useState([]);
  const [at, setAt] = useState(0);
  const box = useRef(null);
  const open = text !== null;
  useEffect(() => {
    setTitle('');
    if (value)
      titlesOf(appId, target, [value]).then(
        (t) => setTitle(t[value]),
        () => setTitle(value),
      );
  }, [value]);
  useEffect(() => {
    if (!open) return undefined;
    const abort = new AbortController();
    const timer = setTimeout(
      () =>
        findRecords(appId, target, text, abort.signal).then(
          (list) => {
            setFound(list);
            setAt(0);
          },
          () => setFound([]),
        ),
      text ? 120 : 0,
    );
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text]);
  const pick = (hit) => {
    setText(null);
    onChange(hit ? hit.id : null, hit?.title);
  };
  const key = (e) => {
    if (e.key === 'Escape') {
      e.stopPropagation();
      setText(null);
      onCancel?.();
    }
    if (!open) {
      if (e.key === 'ArrowDown') {
        e.preventDefault();
        setText('');
      }
      return;
    }
    if (e.key === 'ArrowDown') {
      e.preventDefault();
      setAt(Math.min(found.length - 1, at + 1));
    }
    if (e.key === 'ArrowUp') {
      e.preventDefault();
      setAt(Math.max(0, at - 1));
    }
    if (e.key === 'Enter') {
      e.preventDefault();
      e.stopPropagation();
      if (found[at]) pick(found[at]);
    }
  };
  const leave = (e) => {
    if (!box.current?.contains(e.relatedTarget)) {
      setText(null);
      onCancel?.();
    }
  };
  const make = async () => {
    const { NewRecord } = await import('../screens/record/new.js');
    const row = await openDialog(
      ({ close }) => html`<${NewRecord} appId=${appId} entityName=${target} done=${close} />`,
      { label: `New record in ${target}` },
    );
    if (row) onChange(row.id);
    setText(null);
  };
  return html`<span class="picker" ref=${box} onFocusOut=${leave}>
    <input
      id=${id}
      aria-label=${label}
      ref=${autofocus ? focusNow : null}
      role="combobox"
      aria-expanded=${open}
      aria-controls=${`${id}-list`}
      autocomplete="off"
      placeholder=${`Search ${words(target.replace('core:', '')).toLowerCase()}…`}
      value=${open ? text : title}
      onClick=${() => {
        if (!open) setText('');
      }}
      onInput=${(e) => setText(e.target.value)}
      onKeyDown=${key}
    />
    ${
      value &&
      html`<button
        type="button"
        class="quiet icon small"
        aria-label="Remove the link"
        onClick=${() => pick(null)}
      >
        ${icon('x')}
      </button>`
    }
    ${
      open &&
      html`<div class="popup" id=${`${id}-list`} role="listbox" aria-label="Records">
        ${found.map(
          (hit, i) => html`<button
            type="button"
            role="option"
            key=${hit.id}
            aria-selected=${i === at}
            class=${i === at ? 'at' : ''}
            onMouseDown=${(e) => e.preventDefault()}
            onClick=${() => pick(hit)}
          >
            ${hit.title}
          </button>`,
        )}
        ${!found.length && html`<div class="pad dim">Nothing found.</div>`}
        ${
          target !== 'core:users' &&
          may(appId, target, 'create') &&
          html`<hr />
            <button type="button" onMouseDown=${(e) => e.preventDefault()} onClick=${make}>
              ${icon('plus')}New record
            </button>`
        }
      </div>`
    }
  </span>`;
}
