/** Elements of a page: built from plain values, so that a text never becomes HTML. */

/**
 * Make an element: `element('a', { href: '#/deals', onclick: open }, 'Deals')`.
 *
 * Attributes that are null, undefined or false are left out, and so are such children.
 */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(
    ...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}

/** Make a button. */
export function button(label, onclick, attributes = {}) {
  return element('button', { type: 'button', onclick, ...attributes }, label);
}

/** Make a short word with a colour: gray, blue, violet, amber, green or red. */
export function badge(text, tone = 'gray') {
  return element('span', { class: 'badge', 'data-tone': tone }, text);
}

/** Make what is shown where there are no records yet. */
export function emptyState(title, sentence, ...actions) {
  return element(
    'div',
    { class: 'empty' },
    element('h2', {}, title),
    element('p', {}, sentence),
    element('div', { class: 'actions' }, actions),
  );
}

/** Make the heading of a page, with its actions beside it. */
export function pageHead(title, ...actions) {
  return element(
    'div',
    { class: 'page-head' },
    element('h1', {}, title),
    element('div', { class: 'actions' }, actions),
  );
}

/** Make a list of names and values; values that are empty are left out. */
export function facts(rows) {
  const filled = rows.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return element(
    'dl',
    { class: 'facts' },
    filled.map(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]),
  );
}

/** Make a table: `columns` are `{label, cell, numeric}`, and `cell` makes the content for a record. */
export function table(label, columns, records) {
  const heads = columns.map((column) =>
    element('th', { scope: 'col', class: column.numeric && 'number' }, column.label),
  );
  const rows = records.map((record) => {
    const cells = columns.map((column) =>
      element(
        'td',
        { 'data-label': column.label, class: column.numeric && 'number' },
        column.cell(record),
      ),
    );
    return element('tr', {}, cells);
  });
  return element(
    'table',
    { 'aria-label': label },
    element('thead', {}, element('tr', {}, heads)),
    element('tbody', {}, rows),
  );
}
