/** A list of react-admin's core, as a user of the provider writes it. */
import { CoreAdminContext, ListBase, useDelete, useListContext, useUpdate } from 'ra-core';
import { createRoot } from 'react-dom/client';
import { Caudex } from './js/index.js';
import { dataProvider } from './react-admin/index.js';

const provider = dataProvider(new Caudex(window.OPTIONS).app('shop'));

function Deals() {
  const { data, total, isPending, error, setPage, setFilters } = useListContext();
  const [update] = useUpdate();
  const [remove] = useDelete();
  if (isPending) return <p>Loading</p>;
  if (error) return <p role="alert">{error.message}</p>;
  const [first] = data ?? [];
  const change = { id: first?.id, data: { ...first, value: 99 }, previousData: first };
  const rows = data.map((deal) => (
    <li key={deal.id}>
      {deal.title} {deal.value}
    </li>
  ));
  return (
    <>
      <output>{total}</output>
      <ul>{rows}</ul>
      <button onClick={() => setPage(2)}>Next</button>
      <button onClick={() => setFilters({ value: { $gt: 3 } })}>Filter</button>
      <button onClick={() => setFilters({ nothing: 1 })}>Mistake</button>
      <button onClick={() => update('deals', change)}>Change</button>
      <button onClick={() => remove('deals', { id: first.id, previousData: first })}>Delete</button>
    </>
  );
}

createRoot(document.querySelector('main')).render(
  <CoreAdminContext dataProvider={provider}>
    <ListBase resource="deals" perPage={2} sort={{ field: 'title', order: 'ASC' }}>
      <Deals />
    </ListBase>
  </CoreAdminContext>,
);
