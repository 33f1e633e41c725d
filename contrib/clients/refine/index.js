/** A data provider for Refine: its resources are the entities of an app. */

/** Operations of one batch at most. */
const MAX_OPERATIONS = 1000;

/** What each operator of Refine is in a where-tree. @type {Record<string, (value: any) => any>} */
const OPERATORS = {
  eq: (value) => ({ $eq: value }),
  ne: (value) => ({ $ne: value }),
  lt: (value) => ({ $lt: value }),
  lte: (value) => ({ $lte: value }),
  gt: (value) => ({ $gt: value }),
  gte: (value) => ({ $gte: value }),
  in: (value) => ({ $in: value }),
  nin: (value) => ({ $nin: value }),
  between: ([low, high]) => ({ $gte: low, $lte: high }),
  null: () => ({ $isNull: true }),
  nnull: () => ({ $isNull: false }),
  contains: (value) => ({ $ilike: `%${escapeText(value)}%` }),
  containss: (value) => ({ $like: `%${escapeText(value)}%` }),
  startswith: (value) => ({ $ilike: `${escapeText(value)}%` }),
  startswiths: (value) => ({ $like: `${escapeText(value)}%` }),
  endswith: (value) => ({ $ilike: `%${escapeText(value)}` }),
  endswiths: (value) => ({ $like: `%${escapeText(value)}` }),
};
/** Operators that are the opposite of another one. @type {Record<string, string>} */
const OPPOSITES = {
  ncontains: 'contains',
  ncontainss: 'containss',
  nstartswith: 'startswith',
  nstartswiths: 'startswiths',
  nendswith: 'endswith',
  nendswiths: 'endswiths',
  nbetween: 'between',
};

/**
 * Make a data provider of an app of `@caudex/client`: `dataProvider(caudex.app('crm'))`.
 * @param {any} app
 */
export function dataProvider(app) {
  /** @param {string} entity @param {any[]} ids */
  async function readMany(entity, ids) {
    const recordsById = new Map();
    for (const chunk of chunks(ids)) {
      const query = { where: { id: { $in: chunk } }, limit: chunk.length, total: false };
      const { data } = await app.collection(entity).query(query);
      for (const record of data) recordsById.set(record.id, record);
    }
    return ids.filter((id) => recordsById.has(id)).map((id) => recordsById.get(id));
  }

  /** @param {string} entity @param {any[]} ids @param {Record<string, any>} operation */
  async function writeMany(entity, ids, operation) {
    for (const chunk of chunks(ids)) {
      await app.batch(chunk.map((id) => ({ ...operation, entity, id })));
    }
  }

  return {
    getApiUrl: () => `/api/v1/apps/${app.id}`,

    /** @param {any} params */
    async getList({ resource, pagination, sorters, filters, meta }) {
      const { currentPage, current, pageSize = 10, mode = 'server' } = pagination ?? {};
      const page = currentPage ?? current ?? 1;
      const isPaged = mode === 'server';
      const sorter = sorters?.[0];
      const { data, total } = await app.collection(resource).query({
        where: whereOf(filters),
        search: meta?.search,
        orderBy: sorter?.field,
        order: sorter?.order,
        limit: isPaged ? pageSize : MAX_OPERATIONS,
        offset: isPaged ? (page - 1) * pageSize : 0,
        expand: meta?.expand,
        fields: meta?.fields,
      });
      return { data, total };
    },

    /** @param {any} params */
    async getOne({ resource, id, meta }) {
      return { data: await app.collection(resource).get(id, { expand: meta?.expand }) };
    },

    /** @param {any} params */
    async getMany({ resource, ids }) {
      return { data: await readMany(resource, ids) };
    },

    /** @param {any} params */
    async create({ resource, variables }) {
      return { data: await app.collection(resource).create(variables) };
    },

    /** @param {any} params */
    async createMany({ resource, variables }) {
      return { data: await app.collection(resource).bulk(variables) };
    },

    /** @param {any} params */
    async update({ resource, id, variables, meta }) {
      const options = { ifMatch: meta?.ifMatch };
      return { data: await app.collection(resource).update(id, variables, options) };
    },

    /** @param {any} params */
    async updateMany({ resource, ids, variables }) {
      await writeMany(resource, ids, { op: 'update', data: variables });
      return { data: await readMany(resource, ids) };
    },

    /** @param {any} params */
    async deleteOne({ resource, id }) {
      await app.collection(resource).delete(id);
      return { data: { id } };
    },

    /** @param {any} params */
    async deleteMany({ resource, ids }) {
      await writeMany(resource, ids, { op: 'delete' });
      return { data: ids.map((/** @type {any} */ id) => ({ id })) };
    },
  };
}

/** Return the where-tree of filters, all of which must hold. @param {any[]} [filters] */
export function whereOf(filters = []) {
  const trees = filters.filter(isSet).map(treeOf);
  return trees.length > 0 ? { $and: trees } : undefined;
}

/** Refine keeps filters whose value was cleared. @param {any} filter */
function isSet({ operator, value }) {
  return operator === 'null' || operator === 'nnull' || (value !== undefined && value !== '');
}

/** @param {any} filter @returns {any} */
function treeOf({ field, operator, value }) {
  if (operator === 'and' || operator === 'or') {
    return { [`$${operator}`]: value.filter(isSet).map(treeOf) };
  }
  if (operator in OPPOSITES) {
    return { $not: treeOf({ field, operator: OPPOSITES[operator], value }) };
  }
  const compare = OPERATORS[operator];
  if (compare === undefined) throw new Error(`the operator ${operator} is not supported`);
  return { [field]: compare(value) };
}

/** A text whose signs mean themselves in a pattern. @param {any} value */
function escapeText(value) {
  return String(value).replace(/[\\%_]/g, '\\$&');
}

/** @param {any[]} ids */
function* chunks(ids) {
  for (let start = 0; start < ids.length; start += MAX_OPERATIONS) {
    yield ids.slice(start, start + MAX_OPERATIONS);
  }
}
