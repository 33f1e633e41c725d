/** A data provider for react-admin: its resources are the entities of an app. */

/** Operations of one batch at most. */
const MAX_OPERATIONS = 1000;

/**
 * Make a data provider of an app of `@caudex/client`: `dataProvider(caudex.app('crm'))`.
 *
 * A filter is a where-tree: values, or operators as `{value: {$gte: 100}}`. Its member `q` is
 * searched for in the texts of the entity.
 * @param {any} app
 */
export function dataProvider(app) {
  /** @param {string} resource @param {any} params @param {Record<string, any>} [condition] */
  async function getList(resource, params, condition = {}) {
    const { page = 1, perPage = 25 } = params.pagination ?? {};
    const { q, ...where } = { ...params.filter, ...condition };
    const query = {
      where,
      search: q || undefined,
      orderBy: params.sort?.field,
      order: params.sort?.order?.toLowerCase(),
      limit: perPage,
      offset: (page - 1) * perPage,
      expand: params.meta?.expand,
      fields: params.meta?.fields,
    };
    return app.collection(resource).query(query, { signal: params.signal });
  }

  /** @param {string} resource @param {{ids: any[], signal?: AbortSignal}} params */
  async function getMany(resource, { ids, signal }) {
    const recordsById = new Map();
    for (const chunk of chunks(ids)) {
      const query = { where: { id: { $in: chunk } }, limit: chunk.length, total: false };
      const { data } = await app.collection(resource).query(query, { signal });
      for (const record of data) recordsById.set(record.id, record);
    }
    return { data: ids.filter((id) => recordsById.has(id)).map((id) => recordsById.get(id)) };
  }

  /** @param {string} entity @param {any[]} ids @param {Record<string, any>} operation */
  async function writeMany(entity, ids, operation) {
    for (const chunk of chunks(ids)) {
      await app.batch(chunk.map((id) => ({ ...operation, entity, id })));
    }
    return { data: ids };
  }

  return {
    supportAbortSignal: true,
    getList,
    getMany,

    /** @param {string} resource @param {any} params */
    getManyReference: (resource, params) =>
      getList(resource, params, { [params.target]: params.id }),

    /** @param {string} resource @param {any} params */
    async getOne(resource, { id, signal, meta }) {
      return { data: await app.collection(resource).get(id, { signal, expand: meta?.expand }) };
    },

    /** @param {string} resource @param {any} params */
    async create(resource, { data }) {
      return { data: await app.collection(resource).create(data) };
    },

    /** @param {string} resource @param {any} params */
    async update(resource, { id, data, previousData, meta }) {
      const changes = changesOf(data, previousData);
      const options = { ifMatch: meta?.ifMatch };
      return { data: await app.collection(resource).update(id, changes, options) };
    },

    /** @param {string} resource @param {any} params */
    updateMany: (resource, { ids, data }) => writeMany(resource, ids, { op: 'update', data }),

    /** @param {string} resource @param {any} params */
    async delete(resource, { id, previousData }) {
      await app.collection(resource).delete(id);
      return { data: previousData ?? { id } };
    },

    /** @param {string} resource @param {any} params */
    deleteMany: (resource, { ids }) => writeMany(resource, ids, { op: 'delete' }),
  };
}

/**
 * Return the members that differ from the record as it was read. Without changes it is the id,
 * which the server leaves as it is.
 * @param {Record<string, any>} data @param {Record<string, any> | undefined} previous
 */
function changesOf(data, previous) {
  const changed = Object.entries(data).filter(
    ([name, value]) => !previous || JSON.stringify(value) !== JSON.stringify(previous[name]),
  );
  return changed.length > 0 ? Object.fromEntries(changed) : { id: data.id };
}

/** @param {any[]} ids */
function* chunks(ids) {
  for (let start = 0; start < ids.length; start += MAX_OPERATIONS) {
    yield ids.slice(start, start + MAX_OPERATIONS);
  }
}
