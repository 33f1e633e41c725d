/** A list of records that is searched, and read a page at a time. */
import { button, element } from './elements.js';
import { attempt, sentence } from './messages.js';

const PAGE = 50;
/** Milliseconds after the last key before a search is sent. */
const PAUSE = 200;

/**
 * Make a search box with the list below it.
 *
 * `load({search, limit, offset})` returns a page, `{data, total}`; `render(records)` makes the list;
 * `empty(search)` makes what is shown without records.
 */
export async function searchedList({ label, load, render, empty }) {
  let search = '';
  let records = [];
  let latest = 0;
  const content = element('div', { 'aria-live': 'polite' });
  const input = element('input', {
    type: 'search',
    'aria-label': label,
    placeholder: label,
    maxlength: 200,
  });
  const more = button('Show more', () => attempt(more, () => readPage(records.length)));

  async function readPage(offset) {
    latest += 1;
    const number = latest;
    const page = await load({ search: search || undefined, limit: PAGE, offset });
    if (number !== latest) return;
    records = offset === 0 ? page.data : [...records, ...page.data];
    more.hidden = records.length >= page.total;
    content.replaceChildren(records.length > 0 ? render(records) : empty(search));
  }

  let timer = 0;
  input.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      search = input.value.trim();
      try {
        await readPage(0);
      } catch (error) {
        content.replaceChildren(
          element('p', { role: 'alert', class: 'form-error' }, sentence(error.message)),
        );
      }
    }, PAUSE);
  });
  await readPage(0);
  return element('div', { class: 'records' }, input, content, more);
}

/** Read up to 1000 records as options of a select: `[[id, label]]`. */
export async function readOptions(collection, field) {
  const page = await collection.query({
    fields: [field],
    orderBy: field,
    order: 'asc',
    limit: 1000,
    total: false,
  });
  return page.data.map((record) => [record.id, record[field]]);
}
