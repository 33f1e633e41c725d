/** Editing in a cell: Enter, or leaving it, saves what was typed; Escape does not. */
import { html, useRef, useState } from '../../core/kit.js';
import { toWords } from '../../core/store.js';
import { fail } from '../../core/ui.js';
import { Control } from '../../form/control.js';
import { parseText, toText } from '../../parts/values.js';

/** Types that are edited in their cell; others open the record. */
const TYPES = ['text', 'number', 'boolean', 'date', 'timestamp', 'uuid', 'entity_link'];
const LONGEST = 400;

export const isEditable = (field) => !field.system && !field.locked && TYPES.includes(field.type);
/** Whether a value is short enough for its cell. */
export const fitsCell = (value) => String(value ?? '').length <= LONGEST;

/**
 * @param {{field: any, value: any, appId: string, refused?: {text: string, problem: string},
 *   finish: (text?: string) => void}} props `refused` is what was typed before and not accepted;
 *   `finish` gets no text where nothing is to be saved.
 */
export function Editor({ field, value, appId, refused, finish }) {
  const [text, setText] = useState(refused?.text ?? toText(field, value));
  const isOver = useRef(false);
  const end = (result) => {
    if (isOver.current) return;
    isOver.current = true;
    finish(result);
  };
  const isChoice = field.references || field.enum_values?.length || field.type === 'boolean';
  const change = (typed) => {
    setText(typed);
    if (isChoice) end(typed);
  };
  const press = (event) => {
    const isEnd = event.key === 'Enter' || event.key === 'Escape';
    if (!isEnd) return;
    event.preventDefault();
    event.stopPropagation();
    end(event.key === 'Enter' ? text : undefined);
  };
  const blur = (event) => {
    const isInside = event.currentTarget.contains(event.relatedTarget);
    // What was refused would be again: it stays to be corrected, or to be given up by Escape.
    const isRefused = refused && text === refused.text;
    if (!field.references && !isInside && !isRefused) end(text);
  };
  return html`<div
    class="celledit ${refused ? 'refused' : ''}"
    title=${refused?.problem}
    onKeyDown=${press}
    onFocusOut=${blur}
  >
    <${Control}
      id="cell"
      label=${toWords(field.name)}
      field=${field}
      value=${text}
      onChange=${change}
      appId=${appId}
      autofocus
      onCancel=${() => end()}
    />
  </div>`;
}

// --- which cell is edited, and saving what was typed in it

/**
 * @param {{current: any}} box @param {any[]} rows @param {any[]} fields
 * @param {(row: any, change: object) => Promise<void>} save
 * @returns {{editing: any, edit: (row: any, field: any) => boolean,
 *   finish: (text?: string) => Promise<void>}} `edit` returns false for a cell that has no editor.
 */
export function useEditing(box, rows, fields, save) {
  /** The cell by the id of its row and the name of its field; `refused` is what was not accepted. */
  const [editing, setEditing] = useState(null);
  const edit = (row, field) => {
    if (editing?.refused) {
      box.current.querySelector('.celledit input')?.focus();
      return true;
    }
    const hasEditor = isEditable(field) && fitsCell(row[field.name]);
    if (hasEditor) setEditing({ id: row.id, name: field.name, round: 0 });
    return hasEditor;
  };
  /** Save what was typed. What is refused comes back into its cell, to be corrected. */
  const finish = async (text) => {
    const row = rows.find((candidate) => candidate.id === editing.id);
    const field = fields.find((candidate) => candidate.name === editing.name);
    setEditing(null);
    box.current.focus({ preventScroll: true });
    const isChanged = row && text !== undefined && text !== toText(field, row[field.name]);
    if (!isChanged) return;
    try {
      await save(row, { [field.name]: parseText(field, text) });
    } catch (error) {
      fail(error);
      const refused = { text, problem: error.message };
      setEditing((later) => later ?? { ...editing, round: editing.round + 1, refused });
    }
  };
  return { editing, edit, finish };
}
