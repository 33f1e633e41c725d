/** Small apps to begin with: they show types, choices and links, and are changed by clicking. */

const text = (name, more) => ({ name, type: 'text', ...more });
const title = (name) => text(name, { required: true });
const number = (name, more) => ({ name, type: 'number', ...more });
const date = (name) => ({ name, type: 'date' });
const link = (name, entity) => ({ name, type: 'entity_link', references: { entity } });
const notes = { name: 'notes', type: 'text', format: 'long' };
/** A choice; colours are those of its values, in order. */
const choice = (name, values, colours = []) => ({
  name,
  type: 'text',
  enum_values: values,
  colours: Object.fromEntries(
    values.slice(0, colours.length).map((value, at) => [value, colours[at]]),
  ),
});
const table = (entityName, ...fields) => ({ entityName, fields });
const email = text('email', { format: 'email' });
const money = { format: 'currency', currency: 'EUR' };

/** @type {{name: string, sub: string, dataContract: any[]}[]} */
export const EXAMPLES = [
  {
    name: 'Help desk',
    sub: 'Tickets with state and priority, and the people who wrote them.',
    dataContract: [
      table('customers', title('name'), email, text('phone')),
      table(
        'tickets',
        title('subject'),
        choice('state', ['New', 'Open', 'Waiting', 'Solved'], ['blue', 'orange', 'grey', 'green']),
        choice('priority', ['Low', 'Normal', 'Urgent'], ['grey', 'blue', 'red']),
        link('customer_id', 'customers'),
        link('assignee_id', 'core:users'),
        { name: 'due_at', type: 'timestamp' },
        { ...notes, name: 'description' },
      ),
    ],
  },
  {
    name: 'Inventory',
    sub: 'Items, where they are, and what came in and went out.',
    dataContract: [
      table('locations', title('name'), text('address')),
      table(
        'items',
        title('name'),
        text('sku'),
        number('stock'),
        number('reorder_at'),
        number('price', money),
        link('location_id', 'locations'),
        notes,
      ),
      table(
        'movements',
        link('item_id', 'items'),
        choice('kind', ['In', 'Out', 'Count'], ['green', 'orange', 'grey']),
        number('quantity', { required: true }),
        date('moved_on'),
      ),
    ],
  },
  {
    name: 'Time sheet',
    sub: 'Hours of people on projects, and what is billed.',
    dataContract: [
      table(
        'projects',
        title('name'),
        choice('state', ['Planned', 'Active', 'Done'], ['grey', 'blue', 'green']),
        number('hourly_rate', money),
      ),
      table(
        'entries',
        date('worked_on'),
        number('hours', { required: true }),
        link('project_id', 'projects'),
        link('person_id', 'core:users'),
        { name: 'billable', type: 'boolean', default_value: true },
        text('task'),
      ),
    ],
  },
];
