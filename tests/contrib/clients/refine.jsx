/** A table of Refine's core, as a user of the provider writes it. */
import { Refine, useDelete, useTable, useUpdate } from '@refinedev/core';
import { createRoot } from 'react-dom/client';
import { Caudex } from './js/index.js';
import { dataProvider } from './refine/index.js';

const provider = dataProvider(new Caudex(window.OPTIONS).app('shop'));

function Deals() {
  const table = useTable({
    resource: 'deals',
    pagination: { pageSize: 2 },
    sorters: { initial: [{ field: 'title', order: 'asc' }] },
    syncWithLocation: false,
  });
  const { mutate: update } = useUpdate();
  const { mutate: remove } = useDelete();
  if (table.tableQuery.isLoading) return <p>Loading</p>;
  if (table.tableQuery.isError) return <p role="alert">{table.tableQuery.error.message}</p>;
  const { data, total } = table.result;
  const [first] = data;
  const filter = (field, operator, value) => {
    table.setFilters([{ field, operator, value }]);
    table.setCurrentPage(1);
  };
  const rows = data.map((deal) => (
    <li key={deal.id}>
      {deal.title} {deal.value}
    </li>
  ));
  return (
    <>
      <output>{total}</output>
      <ul>{rows}</ul>
      <button onClick={() => table.setCurrentPage(2)}>Next</button>
      <button onClick={() => filter('value', 'gt', 3)}>Filter</button>
      <button onClick={() => filter('nothing', 'eq', 1)}>Mistake</button>
      <button onClick={() => update({ resource: 'deals', id: first.id, values: { value: 99 } })}>
        Change
      </button>
      <button onClick={() => remove({ resource: 'deals', id: first.id })}>Delete</button>
    </>
  );
}

createRoot(document.querySelector('main')).render(
  <Refine
    dataProvider={provider}
    resources={[{ name: 'deals' }]}
    options={{ disableTelemetry: true, reactQuery: { clientConfig: { defaultOptions: { queries: { retry: false } } } } }}
  >
    <Deals />
  </Refine>,
);
