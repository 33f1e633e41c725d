/** What a cell is edited with. Enter and Tab save and move on, Escape gives up. */
import { focusNow, html, useEffect, useLayoutEffect, useRef, useState } from '../../core/kit.js';
import { toWords } from '../../core/store.js';
import { Control } from '../../form/control.js';
import { useTopLayer } from '../../form/picker.js';
import { toText } from '../../parts/values.js';

const ANSWERS = ['yes', 'no'];
/** Types whose values have several lines. */
const OF_LINES = ['json', '[text]', '[number]'];
/** Letters of a text that is edited in one line. */
const LINE = 60;
/** Lines of a text that are seen at once. */
const FEWEST_ROWS = 4;
const MOST_ROWS = 14;
const ARROWS = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };

/**
 * @param {{field: any, value: any, title?: string, appId: string, isTyped: boolean,
 *   draft?: {text: string, problem?: string}, finish: (result?: any, options?: any) => boolean}} props
 *   `isTyped` says that a letter began the edit, which then replaces the value; `draft` is what was
 *   typed before and refused. `finish` gets no result where nothing is to be saved.
 */
export function Editor(props) {
  const { field, value, isTyped, draft, finish } = props;
  const start = isTyped ? '' : (draft?.text ?? toText(field, value));
  const [text, setText] = useState(start);
  const [hasProblem, setProblem] = useState(Boolean(draft?.problem));
  const isOver = useRef(false);
  const box = useRef(null);
  const latest = useRef(start);
  const type = (typed) => {
    latest.current = typed;
    setText(typed);
    setProblem(false);
  };
  /** End the edit; a text that cannot be saved keeps it open. */
  const end = (result, options) => {
    if (isOver.current) return;
    isOver.current = true;
    if (finish(result, options)) return;
    isOver.current = false;
    setProblem(true);
  };
  const endWith = (step, key) => end({ text: latest.current }, { step, key });
  const press = (event) => {
    const act = findAct(event, field, value, isTyped);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    if (act === 'cancel') end();
    else endWith(act, event.key);
  };
  const blur = (event) => {
    if (event.currentTarget.contains(event.relatedTarget)) return;
    // What was refused would be again: it is not sent once more.
    const isRefused = hasProblem && latest.current === draft?.text;
    const result = field.references ? undefined : { text: latest.current };
    end(result, { hasLeft: true, isRefused });
  };
  const problem = hasProblem ? draft?.problem : undefined;
  const shared = { ...props, text, type, end, box, problem };
  const Kind = findKind(field, value, draft);
  return html`<div
    class="celledit ${hasProblem ? 'refused' : ''}"
    ref=${box}
    onKeyDown=${press}
    onFocusOut=${blur}
  >
    <${Kind} ...${shared} />
    ${problem && Kind !== LinesEditor && html`<${Problem} anchor=${box} text=${problem} />`}
  </div>`;
}

function findKind(field, value, draft) {
  if (field.page) return Plain;
  if (field.references) return LinkEditor;
  if (listChoices(field)) return ChoiceEditor;
  return isOfLines(field, draft?.text ?? value) ? LinesEditor : Plain;
}

function isOfLines(field, value) {
  if (OF_LINES.includes(field.type) || field.format === 'long') return true;
  const text = String(value ?? '');
  return field.type === 'text' && (text.length > LINE || text.includes('\n'));
}

/**
 * What a key does in an editor: `cancel`, or the step that follows; undefined for one that types.
 */
function findAct(event, field, value, isTyped) {
  const { key, shiftKey, altKey } = event;
  const isCommand = event.ctrlKey || event.metaKey;
  if (key === 'Escape') return 'cancel';
  if (key === 'Tab' && !isCommand && !altKey) return [0, shiftKey ? -1 : 1];
  const isArea = event.target.matches('textarea');
  if (key === 'Enter' && isArea) return isCommand ? [1, 0] : undefined;
  if (key === 'Enter' && !altKey) return [shiftKey ? -1 : 1, 0];
  // As in a spreadsheet: a letter that began an edit lets the arrows end it.
  const isLine = event.target.matches('input:not([type]), input[type=text]');
  const hasList = event.target.matches('[role=combobox]');
  const isPlain = !isCommand && !altKey && !shiftKey;
  return isTyped && isLine && !hasList && isPlain ? ARROWS[key] : undefined;
}

/** The control that forms have, too. */
const Plain = ({ field, appId, text, type, end, isTyped }) => html`<${Control}
  id="cell"
  label=${toWords(field.name)}
  field=${field}
  value=${text}
  onChange=${type}
  appId=${appId}
  isLine
  autofocus=${isTyped ? 'end' : true}
  onCancel=${() => end()}
/>`;

/** A link is saved when a record is chosen, or created. */
const LinkEditor = ({ field, value, appId, end }) => html`<${Control}
  id="cell"
  label=${toWords(field.name)}
  field=${field}
  value=${value ?? ''}
  onChange=${(id, title) => end({ text: id, value: id || null, shown: title })}
  appId=${appId}
  autofocus
  onCancel=${() => end()}
/>`;

// --- texts of several lines, JSON and lists: over the cell and the cells below it

const HINTS = { json: 'JSON', '[text]': 'one a line', '[number]': '[1, 2]' };

function LinesEditor({ field, text, type, box, isTyped, problem }) {
  const area = useRef(null);
  const layer = useRef(null);
  useTopLayer(box, layer, true);
  useLayoutEffect(() => {
    area.current.focus();
    area.current.setSelectionRange(text.length, text.length);
    if (!isTyped) area.current.scrollTop = 0;
  }, []);
  const rows = Math.min(MOST_ROWS, Math.max(FEWEST_ROWS, text.split('\n').length + 1));
  return html`<div class="popup celllines" popover="manual" ref=${layer}>
    <textarea
      id="cell"
      ref=${area}
      rows=${rows}
      class=${field.type === 'json' ? 'mono' : ''}
      aria-label=${toWords(field.name)}
      placeholder=${HINTS[field.type] ?? ''}
      value=${text}
      onInput=${(event) => type(event.target.value)}
    />
    ${problem && html`<small class="problem" role="alert">${problem}</small>`}
    <small class="dim"><kbd>Ctrl Enter</kbd> saves, <kbd>Esc</kbd> does not</small>
  </div>`;
}

// --- one of several choices

/** The choices of a field, without any null. */
function listChoices(field) {
  if (field.enum_values?.length) return field.enum_values;
  return field.type === 'boolean' ? ANSWERS : null;
}

/** What is typed narrows the choices; Enter takes the marked one. */
function ChoiceEditor({ field, value, draft, text, type, end, box, isTyped }) {
  const all = listChoices(field);
  const blank = field.required ? [] : [''];
  const shown = field.type === 'boolean' && value !== null ? ANSWERS[value ? 0 : 1] : value;
  const [isSearched, setSearched] = useState(isTyped || Boolean(draft?.problem));
  const hits = isSearched ? findChoices(all, text) : [...all, ...blank];
  const [at, setAt] = useState(Math.max(0, hits.indexOf(shown ?? '')));
  const marked = Math.min(at, hits.length - 1);
  const list = useRef(null);
  useTopLayer(box, list);
  useEffect(() => {
    list.current.querySelector('.at')?.scrollIntoView({ block: 'nearest' });
  }, [marked]);
  const search = (event) => {
    setSearched(true);
    setAt(0);
    type(event.target.value);
  };
  const press = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !event.altKey) {
      event.preventDefault();
      setAt((marked + step + hits.length) % Math.max(1, hits.length));
    }
    const isEnd = event.key === 'Enter' || event.key === 'Tab';
    // The key goes on to the editor, which ends with the choice.
    if (isEnd && hits.length) type(hits[marked]);
  };
  return html`<input
      id="cell"
      role="combobox"
      aria-label=${toWords(field.name)}
      aria-expanded="true"
      aria-controls="cell-choices"
      aria-autocomplete="list"
      aria-activedescendant=${hits.length ? `cell-choice-${marked}` : undefined}
      autocomplete="off"
      placeholder=${shown ?? ''}
      ref=${focusNow}
      value=${isSearched ? text : ''}
      onInput=${search}
      onKeyDown=${press}
    />
    <div
      class="popup"
      popover="manual"
      ref=${list}
      id="cell-choices"
      role="listbox"
      aria-label=${toWords(field.name)}
    >
      ${hits.map(
        (choice, index) => html`<button
          type="button"
          role="option"
          tabindex="-1"
          key=${choice}
          id=${`cell-choice-${index}`}
          aria-selected=${index === marked}
          class=${index === marked ? 'at' : ''}
          onMouseDown=${(event) => event.preventDefault()}
          onClick=${() => end({ text: choice })}
        >
          ${choice || '–'}
        </button>`,
      )}
      ${!hits.length && html`<div class="pad dim">No such choice.</div>`}
    </div>`;
}

/** Choices that begin with a text, and then those that have it elsewhere. */
function findChoices(choices, text) {
  const part = text.trim().toLowerCase();
  const places = choices.map((choice) => [choice, choice.toLowerCase().indexOf(part)]);
  const isHit = ([, place]) => place >= 0;
  const order = (left, right) => Math.min(1, left[1]) - Math.min(1, right[1]);
  return places
    .filter(isHit)
    .sort(order)
    .map(([choice]) => choice);
}

/** Why a text was refused, below its cell. */
function Problem({ anchor, text }) {
  const layer = useRef(null);
  useTopLayer(anchor, layer);
  return html`<div class="popup cellproblem" popover="manual" ref=${layer} role="alert">${text}</div>`;
}
