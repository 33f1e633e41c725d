/** Uses the data providers against a server, as `test_providers.py` says; prints JSON. */
import { Caudex } from '../../../contrib/clients/js/index.js';
import { dataProvider as reactAdmin } from '../../../contrib/clients/react-admin/index.js';
import { dataProvider as refine, whereOf } from '../../../contrib/clients/refine/index.js';

const { url, key } = JSON.parse(process.argv[3]);
const app = new Caudex({ url, key }).app('shop');
const titles = (records) => records.map((record) => record.title);

async function seed() {
  const makers = await app.collection('makers').bulk([{ name: 'Acme' }, { name: 'Blue_50%' }]);
  const deals = [];
  for (let number = 1; number <= 30; number += 1) {
    const maker = makers[number % 2].id;
    deals.push({ title: `Deal ${String(number).padStart(2, '0')}`, value: number, maker });
  }
  await app.collection('deals').bulk(deals);
  return makers;
}

const cases = {
  async 'react-admin'() {
    const [acme] = await seed();
    const provider = reactAdmin(app);
    const sort = { field: 'value', order: 'ASC' };
    const page = await provider.getList('deals', {
      pagination: { page: 2, perPage: 10 },
      sort,
      filter: { value: { $gt: 5 } },
    });
    const searched = await provider.getList('makers', { filter: { q: 'acme' } });
    const linked = await provider.getManyReference('deals', {
      target: 'maker',
      id: acme.id,
      pagination: { page: 1, perPage: 2 },
      sort,
      filter: {},
    });
    const [first, second] = linked.data;
    const one = await provider.getOne('deals', { id: first.id, meta: { expand: ['maker'] } });
    const many = await provider.getMany('deals', { ids: [second.id, crypto.randomUUID(), first.id] });
    const made = await provider.create('deals', { data: { title: 'Made', value: 1 } });
    const changed = await provider.update('deals', {
      id: made.data.id,
      data: { ...made.data, value: 7 },
      previousData: made.data,
    });
    const same = await provider.update('deals', {
      id: made.data.id,
      data: changed.data,
      previousData: changed.data,
    });
    const ids = [first.id, second.id];
    await provider.updateMany('deals', { ids, data: { value: 99 } });
    const updated = await provider.getMany('deals', { ids });
    await provider.deleteMany('deals', { ids });
    const gone = await provider.delete('deals', { id: made.data.id, previousData: made.data });
    const refused = await provider
      .create('deals', { data: { nothing: 1 } })
      .catch((error) => ({ status: error.status, message: error.message }));
    return {
      page: { titles: titles(page.data), total: page.total },
      searched: searched.data.map((maker) => maker.name),
      linked: { titles: titles(linked.data), total: linked.total },
      expanded: one.data.expand.maker.name,
      many: titles(many.data),
      changed: changed.data.value,
      same: same.data.value,
      updated: updated.data.map((record) => record.value),
      gone: gone.data.title,
      left: (await provider.getMany('deals', { ids })).data.length,
      refused,
    };
  },

  async refine() {
    await seed();
    const provider = refine(app);
    const list = (filters, more = {}) =>
      provider.getList({
        resource: 'deals',
        pagination: { currentPage: 1, pageSize: 3 },
        sorters: [{ field: 'value', order: 'asc' }],
        filters,
        ...more,
      });
    const second = await list([], { pagination: { currentPage: 2, pageSize: 3 } });
    const between = await list([{ field: 'value', operator: 'between', value: [10, 12] }]);
    const either = await list([
      {
        operator: 'or',
        value: [
          { field: 'value', operator: 'lt', value: 2 },
          { field: 'title', operator: 'endswith', value: '30' },
        ],
      },
      { field: 'title', operator: 'contains', value: '' },
    ]);
    const without = await list([{ field: 'title', operator: 'nstartswith', value: 'Deal 0' }]);
    const makers = await provider.getList({
      resource: 'makers',
      filters: [{ field: 'name', operator: 'contains', value: '_50%' }],
    });
    const none = await list([{ field: 'maker', operator: 'null' }]);
    const every = await list([], { pagination: { mode: 'off' } });
    const made = await provider.createMany({
      resource: 'deals',
      variables: [{ title: 'A' }, { title: 'B' }],
    });
    const ids = made.data.map((record) => record.id);
    const one = await provider.update({
      resource: 'deals',
      id: ids[0],
      variables: { value: 5 },
    });
    const many = await provider.updateMany({
      resource: 'deals',
      ids,
      variables: { value: 6 },
    });
    await provider.deleteOne({ resource: 'deals', id: ids[0] });
    await provider.deleteMany({ resource: 'deals', ids: [ids[1]] });
    const left = await provider.getMany({ resource: 'deals', ids });
    let unknown = '';
    try {
      whereOf([{ field: 'value', operator: 'ina', value: [1] }]);
    } catch (error) {
      unknown = error.message;
    }
    return {
      second: titles(second.data),
      total: second.total,
      between: titles(between.data),
      either: titles(either.data),
      without: titles(without.data),
      makers: makers.data.map((maker) => maker.name),
      none: none.total,
      every: every.data.length,
      one: one.data.value,
      many: many.data.map((record) => record.value),
      left: left.data.length,
      api: provider.getApiUrl(),
      unknown,
    };
  },
};

console.log(JSON.stringify(await cases[process.argv[2]]()));
