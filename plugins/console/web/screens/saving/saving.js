/** Saving what was changed in the cells of a table: one alone, or many at once. */
import { post, url } from '../../core/api.js';
import { askVersion } from '../../core/dialogs.js';
import { nameField, toWords } from '../../core/store.js';
import { fail, toast } from '../../core/ui.js';
import { matchProblem } from '../../form/control.js';
import { findByTitles } from '../../parts/titles.js';
import { countRecords, makeRequestId, openProgress, toastUndo } from '../../parts/undo.js';
import { toText } from '../../parts/values.js';
import { findClashes, saveRecord } from '../record/edit.js';

/** Records of one request; the server takes twice as many. */
const PART = 500;
/** Records that the server refuses, after which it is asked no more. */
const MOST_REFUSED = 25;
/** How often another user may be faster than a part. */
const MOST_ROUNDS = 5;
const CONFLICT = 412;
const REFUSED = [400, 403, 404, 409];
const PLACE = /^\[(\d+)\] /;
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const GONE = 'This record is gone, or you may not read it any more.';

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
  /** Save many cells: all or none, and where some are wrong, as the user then says. */
  const saveMany = async (plan) => {
    try {
      await new Saving(appId, entity, data, plan).run();
    } catch (error) {
      fail(error);
    }
  };
  return { saveOne, saveMany };
}

/** One paste, fill or delete: all of its cells or, where some are wrong, what the user then says. */
class Saving {
  /** @param {string} appId @param {any} entity @param {any} data @param {any} plan see `planChanges` */
  constructor(appId, entity, data, plan) {
    this.appId = appId;
    this.entity = entity;
    this.data = data;
    this.changes = plan.changes;
    this.refused = plan.refused;
    this.outside = plan.outside;
    this.base = plan.base;
    /** One for all parts, so that they are undone together. */
    this.request = makeRequestId();
  }

  async run() {
    for (;;) {
      await this.resolveLinks();
      const parts = this.listParts();
      const isSimple = !this.refused.length && parts.length <= 1;
      if (isSimple && (await this.trySaving(parts))) return;
      await this.findRefused(parts);
      if (!this.refused.length) {
        await this.save(this.listParts());
        return;
      }
      const answer = await this.ask();
      if (!answer) return;
      this.refused = answer.refused;
      this.changes.push(...answer.changes);
    }
  }

  /** The cells of each record, in parts that the server takes at once. */
  listParts() {
    const byRow = new Map();
    for (const change of this.changes) {
      const cells = byRow.get(change.row.id) ?? [];
      byRow.set(change.row.id, [...cells, change]);
    }
    const records = [...byRow.values()];
    const count = Math.ceil(records.length / PART);
    const take = (_, index) => records.slice(index * PART, (index + 1) * PART);
    return Array.from({ length: count }, take);
  }

  forget(cells) {
    this.changes = this.changes.filter((change) => !cells.includes(change));
  }

  refuse(cells, problem) {
    this.forget(cells);
    this.refused.push(...cells.map((cell) => ({ ...cell, problem })));
  }

  // --- titles of linked records, which become their ids

  async resolveLinks() {
    const isTitle = ({ row, field, value }) => {
      const isId = value === row[field.name] || ID.test(value);
      return field.references && value !== null && !isId;
    };
    const titled = this.changes.filter(isTitle);
    for (const target of new Set(titled.map(({ field }) => field.references))) {
      const cells = titled.filter(({ field }) => field.references === target);
      const titles = [...new Set(cells.map(({ value }) => value))];
      const ids = await findByTitles(this.appId, target, titles);
      for (const cell of cells) this.resolveLink(cell, ids.get(cell.value) ?? []);
    }
  }

  resolveLink(cell, ids) {
    const { field, row, text } = cell;
    const name = toWords(field.references.replace('core:', '')).toLowerCase();
    const number = ids.length ? 'several' : 'no';
    if (ids.length !== 1) {
      this.refuse([cell], `${field.name}: ${number} ${name} are called “${text}”.`);
    } else if (ids[0] === row[field.name]) {
      this.forget([cell]);
    } else {
      cell.value = ids[0];
    }
  }

  // --- what the server refuses

  /** Save what needs one request only. Returns false where the server refuses a record of it. */
  async trySaving(parts) {
    try {
      await this.save(parts);
      return true;
    } catch (error) {
      if (!error.cells) throw error;
      return false;
    }
  }

  /** Find the records that the server refuses, one after the other: its error names the first. */
  async findRefused(parts) {
    for (const part of parts) {
      let rest = part;
      while (rest.length && this.refused.length < MOST_REFUSED) {
        const wrong = await this.findFirstRefused(rest);
        if (!wrong) break;
        rest = rest.filter((cells) => cells !== wrong);
      }
    }
  }

  async findFirstRefused(part) {
    try {
      await this.send(part, { dryRun: true });
      return null;
    } catch (error) {
      if (!error.cells) throw error;
      const { cells } = error;
      const message = error.message.replace(/^\[\d+\] /, '');
      const named = matchProblem(
        { message },
        cells.map(({ field }) => field),
      );
      const wrong = cells.filter(({ field }) => field.name in named);
      this.refuse(wrong.length ? wrong : cells, message);
      return cells;
    }
  }

  /** Show the cells that cannot be saved. The module is loaded when it is needed. */
  async ask() {
    const { askRefused } = await import('./refused.js');
    const { refused, changes } = this;
    const isMore = refused.length >= MOST_REFUSED;
    const nameCell = (cell) => this.nameCell(cell);
    return askRefused({ refused, others: changes.length, isMore, nameCell });
  }

  nameCell({ index, field }) {
    return `Row ${(this.base + index + 1).toLocaleString()} · ${nameField(field)}`;
  }

  // --- sending

  /**
   * Send a part. Where other users were faster, ask which of their values are kept. Raises the error
   * of the server; `cells` of it are those of the record that it names.
   */
  async send(part, options = {}) {
    let records = part;
    for (let round = 1; records.length; round += 1) {
      try {
        return await this.post(records, options);
      } catch (error) {
        if (error.status !== CONFLICT || round === MOST_ROUNDS) throw error;
      }
      records = await this.followOthers(records);
    }
    return [];
  }

  async post(records, options) {
    const operations = records.map((cells) => ({
      op: 'update',
      entity: this.entity.name,
      id: cells[0].row.id,
      data: makeValues(cells),
      ifMatch: cells[0].row._etag,
    }));
    const headers = { 'x-request-id': this.request };
    try {
      const path = url`/api/v1/apps/${this.appId}/batch`;
      const { results } = await post(path, { operations, ...options }, { headers });
      return results.map(({ record, etag }) => ({ ...record, _etag: etag }));
    } catch (error) {
      const index = PLACE.exec(error.message)?.[1];
      if (REFUSED.includes(error.status)) error.cells = records[Number(index)];
      throw error;
    }
  }

  /**
   * Read records again that other users have changed, and ask about the cells that they changed.
   * Returns what is still to be saved.
   */
  async followOthers(records) {
    const rows = await this.readAgain(records.map(([{ row }]) => row.id));
    const clashes = [];
    for (const cells of records) {
      const current = rows.get(cells[0].row.id);
      if (!current) throw Object.assign(new Error(GONE), { cells });
      const names = findClashes(cells[0].row, current, makeValues(cells));
      clashes.push(...cells.filter(({ field }) => names.includes(field.name)));
      for (const cell of cells) cell.row = current;
    }
    const areMine = !clashes.length || (await this.askWhich(clashes));
    if (areMine) return records;
    this.forget(clashes);
    const isKept = (cell) => !clashes.includes(cell);
    return records.map((cells) => cells.filter(isKept)).filter((cells) => cells.length);
  }

  async readAgain(ids) {
    const path = url`/api/v1/apps/${this.appId}/collections/${this.entity.name}/query`;
    const body = { where: { id: { $in: ids } }, limit: ids.length, total: false, etag: true };
    const { data } = await post(path, body);
    return new Map(data.map((row) => [row.id, row]));
  }

  askWhich(cells) {
    const write = (field, value) => toText(field, value) || '–';
    return askVersion({
      title: 'Another user changed these records',
      text: 'They were changed while you were editing. Which values should be kept?',
      rows: cells.map((cell) => [
        this.nameCell(cell),
        write(cell.field, cell.row[cell.field.name]),
        write(cell.field, cell.value),
      ]),
    });
  }

  async save(parts) {
    const saved = [];
    const work = async (state, report) => {
      for (const part of parts) {
        if (state.isStopped) return;
        saved.push(...(await this.send(part)));
        state.done = saved.length;
        report();
      }
    };
    try {
      if (parts.length > 1) await this.showProgress(work);
      else await work({}, () => {});
    } finally {
      await this.show(saved);
    }
    this.sayOutside();
  }

  async showProgress(work) {
    const count = new Set(this.changes.map(({ row }) => row.id)).size;
    let problem = null;
    await openProgress('Saving', count, (state, report) =>
      work(state, report).catch((error) => {
        problem = error;
      }),
    );
    if (problem) throw problem;
  }

  async show(records) {
    if (!records.length) return;
    await this.data.replace(records);
    const { appId, request } = this;
    toastUndo(`${countRecords(records.length)} saved.`, { appId, request });
  }

  /** What was pasted beyond the last row or column is said: it is nowhere. */
  sayOutside() {
    if (!this.outside) return;
    const number = this.outside.toLocaleString();
    const cells = this.outside === 1 ? 'cell was' : 'cells were';
    toast(`${number} ${cells} not pasted: the loaded rows and columns end before.`, {
      kind: 'bad',
    });
  }
}

const makeValues = (cells) =>
  Object.fromEntries(cells.map(({ field, value }) => [field.name, value]));
