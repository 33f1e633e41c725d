/** The forms that create and change records, wherever a page has a button for them. */
import { COMPANY_FIELDS, contactFields, dealFields } from './model.js';
import { confirmDelete, openForm } from './ui/forms.js';
import { notify } from './ui/messages.js';
import { go, refresh } from './ui/pages.js';

/** Open the form for a new deal; `values` are what the page knows already. */
export async function newDeal({ app, me }, values = {}) {
  openForm({
    title: 'New deal',
    fields: await dealFields(app),
    values: { stage: 'lead', value: 0, ...values },
    action: 'Create',
    save: async (changes) => {
      const record = { ...values, ...changes, owner_id: me.id };
      const deal = await app.collection('deals').create(record);
      notify('The deal is created.');
      go(`/deals/${deal.id}`);
    },
  });
}

export async function editDeal({ app }, deal) {
  edit(app.collection('deals'), deal, 'Edit deal', await dealFields(app));
}

/** Open the form for a new contact; `values` are what the page knows already. */
export async function newContact({ app }, values = {}) {
  openForm({
    title: 'New contact',
    fields: await contactFields(app),
    values,
    action: 'Create',
    save: async (changes) => {
      await app.collection('contacts').create({ ...values, ...changes });
      notify('The contact is created.');
      await refresh();
    },
  });
}

export async function editContact({ app }, contact) {
  edit(app.collection('contacts'), contact, 'Edit contact', await contactFields(app));
}

export function newCompany({ app }) {
  openForm({
    title: 'New company',
    fields: COMPANY_FIELDS,
    action: 'Create',
    save: async (values) => {
      const company = await app.collection('companies').create(values);
      notify('The company is created.');
      go(`/companies/${company.id}`);
    },
  });
}

export function editCompany({ app }, company) {
  edit(app.collection('companies'), company, 'Edit company', COMPANY_FIELDS);
}

/** Ask, delete a record, and go to the page of all. */
export async function remove(collection, record, name, consequence, path) {
  if (!(await confirmDelete(`Delete ${name}?`, consequence))) return;
  await collection.delete(record.id);
  notify(`${name} is deleted.`);
  go(path);
}

function edit(collection, record, title, fields) {
  openForm({
    title,
    fields,
    values: record,
    save: async (changes) => {
      await collection.update(record.id, changes);
      notify('Saved.');
      await refresh();
    },
  });
}
