/** Which cell is edited, and saving what was typed in it. */
import { useRef, useState } from '../../core/kit.js';
import { fail, toast } from '../../core/ui.js';
import { isSame, toText } from '../../parts/values.js';
import { Wrong, explainLock, readValue } from './reading.js';

/** What names a cell, wherever its row is. */
export const makeKey = (id, name) => `${id} ${name}`;

/**
 * @param {{current: any}} box @param {any[]} rows @param {any[]} fields
 * @param {(row: any, change: object) => Promise<void>} save
 */
export function useEditing(box, rows, fields, save) {
  /** The cell by the id of its row and the name of its field; `isTyped` says that a letter began it. */
  const [editing, setEditing] = useState(null);
  /** What is being saved, or was refused, by cell: `{text, problem}`. */
  const [drafts, setDrafts] = useState(new Map());
  const round = useRef(0);
  /** The rows of now: a save may wait for the one before it. */
  const latest = useRef(rows);
  latest.current = rows;
  const saving = useRef(Promise.resolve());
  const keep = (key, draft) =>
    setDrafts((before) => {
      const after = new Map(before);
      if (draft) after.set(key, draft);
      else after.delete(key);
      return after;
    });

  /** Begin to edit. Returns false where it cannot be edited, and says why. */
  const edit = (row, field, isTyped = false) => {
    const problem = explainLock(field);
    if (problem) {
      toast(problem, { group: 'locked' });
      return false;
    }
    round.current += 1;
    setEditing({ id: row.id, name: field.name, isTyped, round: round.current });
    return true;
  };

  /**
   * End the edit with what was typed, an exact value, or nothing. Returns false where the text cannot
   * be a value of the field: it stays in its cell, to be corrected.
   * @param {{text: string, value?: any, shown?: string}} [result]
   * @param {{hasLeft?: boolean, isRefused?: boolean}} [options] whether the focus has gone elsewhere,
   *   and whether the text was refused before: it stays in its cell then
   */
  const finish = (result, { hasLeft = false, isRefused = false } = {}) => {
    if (!editing) return true;
    if (isRefused) {
      setEditing(null);
      return true;
    }
    const cell = editing;
    const key = makeKey(cell.id, cell.name);
    const row = latest.current.find((candidate) => candidate.id === cell.id);
    const field = fields.find((candidate) => candidate.name === cell.name);
    let value;
    try {
      if (result && field) value = readResult(field, result);
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      keep(key, { text: result?.text, problem: error.message });
      if (hasLeft) {
        toast(error.message, { kind: 'bad', group: 'refused' });
        setEditing(null);
      }
      return false;
    }
    setEditing(null);
    if (!hasLeft) box.current?.focus({ preventScroll: true });
    const draft = drafts.get(key);
    const isBeingSaved = draft && !draft.problem;
    const isOther = isBeingSaved || !isKept(field, row?.[cell.name], value);
    const isChanged = row && result && isOther;
    if (!isChanged) {
      keep(key, null);
      return true;
    }
    keep(key, { text: result.text, shown: result.shown });
    // One after the other: the second of two in a row needs the entity tag of the first.
    saving.current = saving.current.then(() => send(cell, key, value, result.text));
    return true;
  };
  const send = async (cell, key, value, text) => {
    const row = latest.current.find((candidate) => candidate.id === cell.id);
    try {
      if (row) await save(row, { [cell.name]: value });
      keep(key, null);
    } catch (error) {
      fail(error);
      // It stays in its cell, marked. To open the cell again could catch what is typed elsewhere.
      keep(key, { text, problem: error.message });
    }
  };
  return { editing, drafts, edit, finish };
}

function readResult(field, result) {
  return result.value === undefined ? readValue(field, result.text) : result.value;
}

function isKept(field, before, value) {
  return isSame(before, value) || toText(field, before) === String(value ?? '');
}
