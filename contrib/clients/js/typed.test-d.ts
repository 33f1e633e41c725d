/** What must compile, and what must not: checked by `make console-check`. */
import { Caudex, tagOf } from './index.js';

interface Deal {
  id: string;
  title: string;
  value: number | null;
}

interface Schema {
  crm: {
    deals: {
      record: Deal;
      create: { title: string; value?: number | null };
      update: { title?: string; value?: number | null };
      where: { title?: string | { $ilike: string } };
    };
  };
}

export async function useTypes(): Promise<string> {
  const caudex = new Caudex<Schema>({
    url: 'http://127.0.0.1:9100',
    key: 'cdx_',
  });
  const deals = caudex.app('crm').collection('deals');
  const deal = await deals.create({ title: 'Two chairs' });
  await deals.update(deal.id, { value: 12 }, { ifMatch: tagOf(deal) });
  // @ts-expect-error a field that the entity lacks
  await deals.create({ name: 'Two chairs' });
  // @ts-expect-error an entity that the app lacks
  caudex.app('crm').collection('dealz');
  const page = await deals.query({ where: { title: { $ilike: 'two%' } } });
  return page.data[0].title;
}

export async function useAnything(): Promise<any> {
  const caudex = new Caudex();
  const record = await caudex.app('crm').collection('deals').get('id');
  return record.title;
}
