/** Which cell is edited, and saving what was typed in it. */
import { useState } from '../../core/kit.js';
import { fail } from '../../core/ui.js';
import { parseText, toText } from '../../parts/values.js';
import { fitsCell, isEditable } from './editor.js';

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
