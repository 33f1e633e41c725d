/** Forms in a dialog: labelled inputs, and the server's sentence where a value is refused. */
import { button, element } from './elements.js';
import { sentence } from './messages.js';

/**
 * Open a form, and save what is entered.
 *
 * A field is `{name, label, type, required, options, hint}`. `type` is that of an input, or `select`
 * with `options` as `[[value, label]]`, or `textarea`. `save` gets the values that have changed; an
 * empty one is null. While `save` fails, the form stays open and shows why.
 */
export function openForm({ title, fields, values = {}, action = 'Save', save }) {
  const controls = fields.map((field) => ({
    field,
    control: makeControl(field, values[field.name]),
  }));
  const alert = element('p', { role: 'alert', class: 'form-error' });
  const submit = element('button', { class: 'primary' }, action);
  const cancel = button('Cancel', () => dialog.close());
  const form = element(
    'form',
    {},
    element('h2', {}, title),
    controls.map(({ field, control }) => labelled(field, control)),
    alert,
    element('div', { class: 'actions' }, cancel, submit),
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    alert.textContent = '';
    submit.disabled = true;
    try {
      await save(readChanges(controls, values));
      dialog.close();
    } catch (error) {
      alert.textContent = sentence(error.message);
    } finally {
      submit.disabled = false;
    }
  });
  const dialog = openDialog(title, form);
}

/** Ask before something is deleted. Resolves to whether it may be. */
export function confirmDelete(question, consequence) {
  return new Promise((resolve) => {
    let isConfirmed = false;
    const confirm = button(
      'Delete',
      () => {
        isConfirmed = true;
        dialog.close();
      },
      { class: 'danger' },
    );
    const cancel = button('Cancel', () => dialog.close());
    const content = element(
      'div',
      { class: 'question' },
      element('h2', {}, question),
      element('p', {}, consequence),
      element('div', { class: 'actions' }, cancel, confirm),
    );
    const dialog = openDialog(question, content);
    dialog.addEventListener('close', () => resolve(isConfirmed));
  });
}

/** Open a dialog above the page. The browser keeps the focus in it, and gives it back afterwards. */
function openDialog(label, content) {
  const dialog = element('dialog', { 'aria-label': label }, content);
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

function labelled(field, control) {
  const mark = field.required ? element('span', { class: 'required' }, ' (required)') : null;
  const hint = field.hint ? element('small', {}, field.hint) : null;
  return element('label', {}, element('span', {}, field.label, mark), control, hint);
}

function makeControl(field, value) {
  const { name, required } = field;
  if (field.type === 'select') {
    const options = required ? field.options : [['', '–'], ...field.options];
    const select = element(
      'select',
      { name, required },
      options.map(([key, label]) => element('option', { value: key }, label)),
    );
    select.value = value ?? options[0]?.[0] ?? '';
    return select;
  }
  const isLong = field.type === 'textarea';
  const attributes = isLong
    ? { name, required, rows: 4 }
    : { name, required, type: field.type ?? 'text', step: 'any' };
  const control = element(isLong ? 'textarea' : 'input', attributes);
  control.value = value ?? '';
  return control;
}

/** Return the values that differ from those before, and of a new record those that are entered. */
function readChanges(controls, values) {
  const changes = {};
  for (const { field, control } of controls) {
    const before = values[field.name] ?? null;
    const text = control.value.trim();
    let value = text === '' ? null : text;
    if (value !== null && field.type === 'number') value = Number(text);
    if (value !== before) changes[field.name] = value;
  }
  return changes;
}
