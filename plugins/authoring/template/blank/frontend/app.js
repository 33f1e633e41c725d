// Shows each entity of the app as a table, with a form for new records. Change it into what you need.

import { Caudex } from './caudex/index.js';

const caudex = new Caudex();
const app = caudex.app('sample_app');
const main = document.querySelector('main');
const PAGE = 100;
const INPUTS = { number: 'number', date: 'date', timestamp: 'datetime-local', boolean: 'checkbox' };

/** Make an element; texts become text, never HTML. */
function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  Object.assign(node, attributes);
  node.append(...children);
  return node;
}

function show(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'boolean') return value ? '✓' : '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function input(field) {
  const required = field.required && field.default === null && field.type !== 'boolean';
  if (field.enum_values.length > 0) {
    const options = field.enum_values.map((value) => element('option', {}, value));
    if (!required) options.unshift(element('option', { value: '' }, '–'));
    return element('select', { name: field.name, required }, ...options);
  }
  return element('input', {
    name: field.name,
    required,
    type: INPUTS[field.type] ?? 'text',
    step: 'any',
  });
}

/** Read a form: what is empty is left out, so that defaults apply. */
function read(form, fields) {
  const record = {};
  for (const field of fields) {
    const control = form.elements[field.name];
    if (field.type === 'boolean') record[field.name] = control.checked;
    else if (control.value !== '') {
      record[field.name] = field.type === 'number' ? Number(control.value) : control.value;
    }
  }
  return record;
}

async function showEntity(entity) {
  const records = app.collection(entity.name);
  const writable = entity.fields.filter((field) => !field.generated && !field.type.startsWith('['));
  const alert = element('p', { role: 'alert' });
  const body = element('tbody');

  async function attempt(work) {
    alert.textContent = '';
    try {
      await work();
      await load();
    } catch (error) {
      alert.textContent = error.message;
    }
  }

  function row(record) {
    const cells = entity.fields.map((field) => element('td', {}, show(record[field.name])));
    const remove = element('button', { type: 'button', title: 'Delete' }, '✕');
    remove.addEventListener('click', () => attempt(() => records.delete(record.id)));
    return element('tr', {}, ...cells, element('td', {}, remove));
  }

  async function load() {
    const page = await records.query({ limit: PAGE });
    body.replaceChildren(...page.data.map(row));
    count.textContent = ` ${page.total}`;
  }

  const labels = writable.map((field) => element('label', {}, `${field.name} `, input(field)));
  const form = element('form', {}, ...labels, element('button', {}, 'Add'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    attempt(async () => {
      await records.create(read(form, writable));
      form.reset();
    });
  });
  const count = element('small');
  const heads = entity.fields.map((field) => element('th', {}, field.name));
  const head = element('thead', {}, element('tr', {}, ...heads, element('td')));
  const title = element('h2', {}, entity.name.replaceAll('_', ' '), count);
  main.append(element('section', {}, title, form, alert, element('table', {}, head, body)));
  await attempt(async () => {});
}

try {
  const me = (await caudex.me()) ?? (await caudex.signIn());
  document.querySelector('#who').textContent = me.display_name ?? me.username;
  const { entities } = await caudex.request('GET', `/api/v1/apps/${app.id}`);
  for (const entity of entities) await showEntity(entity);
} catch (error) {
  main.append(element('p', { role: 'alert' }, error.message));
}
