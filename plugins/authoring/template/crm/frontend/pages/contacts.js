/** Contacts: the list, and one contact with its deals. */
import { editContact, newContact, remove } from '../editing.js';
import { amount, stageOf } from '../model.js';
import { badge, button, element, emptyState, facts, pageHead, table } from '../ui/elements.js';
import { attempt } from '../ui/messages.js';
import { searchedList } from '../ui/records.js';
import { link, mail } from './companies.js';

const LISTED = 100;

export async function showContacts(session) {
  const { app, may } = session;
  const create = button('New contact', () => attempt(create, () => newContact(session)), {
    class: 'primary',
  });
  const list = await searchedList({
    label: 'Search contacts',
    load: (page) =>
      app.collection('contacts').query({
        ...page,
        ...(page.search ? {} : { orderBy: 'last_name', order: 'asc' }),
        expand: [{ company_id: { fields: ['name'] } }],
      }),
    render: contactTable,
    empty: (search) =>
      search
        ? emptyState('Nothing found', `No contact matches “${search}”.`)
        : emptyState('No contacts yet', 'Contacts are the people whom you talk to.'),
  });
  return [pageHead('Contacts', may('contacts.create') && create), list];
}

function contactTable(contacts) {
  const columns = [
    { label: 'Name', cell: (contact) => link(`/contacts/${contact.id}`, contact.full_name) },
    { label: 'Job title', cell: (contact) => contact.job_title ?? '' },
    { label: 'Company', cell: (contact) => companyLink(contact.expand.company_id) },
    { label: 'Email', cell: (contact) => mail(contact.email) },
  ];
  return table('Contacts', columns, contacts);
}

export async function showContact(session, id) {
  const { app, may } = session;
  const contacts = app.collection('contacts');
  const [contact, deals] = await Promise.all([
    contacts.get(id, { expand: ['company_id'] }),
    app.collection('deals').query({ where: { contact_id: id }, limit: LISTED }),
  ]);
  const edit = button('Edit', () => attempt(edit, () => editContact(session, contact)));
  const consequence = 'Deals with this contact stay.';
  const drop = button(
    'Delete',
    () =>
      attempt(drop, () => remove(contacts, contact, contact.full_name, consequence, '/contacts')),
    { class: 'danger' },
  );
  const rows = [
    ['Job title', contact.job_title],
    ['Company', companyLink(contact.expand.company_id)],
    ['Email', mail(contact.email)],
    ['Phone', contact.phone && element('a', { href: `tel:${contact.phone}` }, contact.phone)],
    ['Notes', contact.notes && element('span', { class: 'text' }, contact.notes)],
  ];
  const isBare = rows.every(([, value]) => !value);
  const details = isBare ? element('p', { class: 'muted' }, 'Nothing is noted yet.') : facts(rows);
  return [
    element('a', { class: 'back', href: '#/contacts' }, '← All contacts'),
    pageHead(contact.full_name, may('contacts.update') && edit, may('contacts.delete') && drop),
    element(
      'div',
      { class: 'columns main-side' },
      element('section', { class: 'stack' }, element('h2', {}, 'Deals'), dealTable(deals)),
      element('section', { class: 'card stack' }, element('h2', {}, 'Facts'), details),
    ),
  ];
}

function dealTable(page) {
  if (page.total === 0) return element('p', { class: 'muted' }, 'No deals with this contact yet.');
  const columns = [
    { label: 'Deal', cell: (deal) => link(`/deals/${deal.id}`, deal.title) },
    { label: 'Stage', cell: (deal) => badge(stageOf(deal).label, stageOf(deal).tone) },
    { label: 'Value', cell: (deal) => amount(deal.value), numeric: true },
  ];
  return table('Deals', columns, page.data);
}

function companyLink(company) {
  return company ? link(`/companies/${company.id}`, company.name) : '';
}
