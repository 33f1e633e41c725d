/** Saving what was changed in the cells of a table. */
import { post, url } from '../../core/api.js';
import { fail } from '../../core/ui.js';
import { countRecords, toastUndo } from '../../parts/undo.js';
import { saveRecord } from '../record/edit.js';

/**
 * @param {string} appId @param {any} entity
 * @param {{replace: (rows: any[]) => Promise<void>, reload: () => void}} data
 */
export function makeSaving(appId, entity, data) {
  /** Save one cell; raises what the server refuses. */
  const saveOne = async (row, change) => {
    const record = await saveRecord(appId, entity, row, change);
    if (record) {
      await data.replace([record]);
      toastUndo('Saved.', { appId, request: record._request });
    } else {
      data.reload();
    }
  };
  /** Save a block all or nothing, in one batch. */
  const saveBatch = async (pairs) => {
    const operations = pairs.map(([row, change]) => ({
      op: 'update',
      entity: entity.name,
      id: row.id,
      data: change,
      ifMatch: row._etag,
    }));
    const path = url`/api/v1/apps/${appId}/batch`;
    const { body, requestId: request } = await post(path, { operations }, { full: true });
    const records = body.results.map(({ record, etag }) => ({ ...record, _etag: etag }));
    await data.replace(records);
    const text = `${countRecords(records.length)} saved.`;
    toastUndo(text, { appId, request });
  };
  /** Whether a block needs nothing more: it is saved, or refused for good. */
  const trySaveBatch = async (pairs) => {
    try {
      await saveBatch(pairs);
    } catch (error) {
      if (error.status === 412) return false;
      fail(error);
    }
    return true;
  };
  /** Save `[row, change]` pairs that were pasted. */
  const saveBlock = async (pairs) => {
    const isBlock = pairs.length > 1;
    if (isBlock && (await trySaveBatch(pairs))) return;
    // One alone, or another user was faster with one of them: that one is asked about.
    for (const [row, change] of pairs) await saveOne(row, change).catch(fail);
  };
  return { saveOne, saveBlock };
}
