/** Companies: the list, and one company with its contacts and deals. */
import { editCompany, newCompany, newContact, newDeal, remove } from '../editing.js';
import { amount, stageOf } from '../model.js';
import { badge, button, element, emptyState, facts, pageHead, table } from '../ui/elements.js';
import { attempt } from '../ui/messages.js';
import { searchedList } from '../ui/records.js';
import { count, day } from '../ui/texts.js';

const LISTED = 100;

export async function showCompanies(session) {
  const { app, may } = session;
  const create = button('New company', () => newCompany(session), { class: 'primary' });
  const list = await searchedList({
    label: 'Search companies',
    load: (page) =>
      app.collection('companies').query({
        ...page,
        ...(page.search ? {} : { orderBy: 'name', order: 'asc' }),
        expand: [{ deals_via_company_id: { fields: ['value', 'stage'], limit: LISTED } }],
      }),
    render: companyTable,
    empty: (search) =>
      search
        ? emptyState('Nothing found', `No company matches “${search}”.`)
        : emptyState('No companies yet', 'Companies have contacts, and buy what deals are about.'),
  });
  return [pageHead('Companies', may('companies.create') && create), list];
}

function companyTable(companies) {
  const columns = [
    { label: 'Name', cell: (company) => link(`/companies/${company.id}`, company.name) },
    { label: 'Industry', cell: (company) => company.industry ?? '' },
    { label: 'City', cell: (company) => company.city ?? '' },
    { label: 'Open deals', cell: openDeals, numeric: true },
  ];
  return table('Companies', columns, companies);
}

function openDeals(company) {
  const deals = company.expand.deals_via_company_id;
  const open = deals.filter((deal) => deal.stage !== 'won' && deal.stage !== 'lost');
  if (open.length === 0) return '';
  const value = open.reduce((sum, deal) => sum + deal.value, 0);
  return `${open.length} · ${amount(value)}`;
}

export async function showCompany(session, id) {
  const { app, may } = session;
  const companies = app.collection('companies');
  const [company, contacts, deals] = await Promise.all([
    companies.get(id),
    app
      .collection('contacts')
      .query({ where: { company_id: id }, orderBy: 'last_name', order: 'asc', limit: LISTED }),
    app.collection('deals').query({ where: { company_id: id }, limit: LISTED }),
  ]);
  const consequence = 'Its contacts and deals stay, without a company.';
  const edit = button('Edit', () => editCompany(session, company));
  const drop = button(
    'Delete',
    () => attempt(drop, () => remove(companies, company, company.name, consequence, '/companies')),
    { class: 'danger' },
  );
  const rows = [
    ['Industry', company.industry],
    ['City', company.city],
    ['Phone', company.phone && element('a', { href: `tel:${company.phone}` }, company.phone)],
    ['Website', website(company.website)],
    ['Notes', company.notes && element('span', { class: 'text' }, company.notes)],
  ];
  const isBare = rows.every(([, value]) => !value);
  const details = isBare ? element('p', { class: 'muted' }, 'Nothing is noted yet.') : facts(rows);
  return [
    element('a', { class: 'back', href: '#/companies' }, '← All companies'),
    pageHead(company.name, may('companies.update') && edit, may('companies.delete') && drop),
    element(
      'div',
      { class: 'columns main-side' },
      element(
        'div',
        { class: 'stack' },
        dealsOf(session, company, deals),
        contactsOf(session, company, contacts),
      ),
      element('section', { class: 'card stack' }, element('h2', {}, 'Facts'), details),
    ),
  ];
}

function dealsOf(session, company, page) {
  const add = button('New deal', () =>
    attempt(add, () => newDeal(session, { company_id: company.id })),
  );
  const columns = [
    { label: 'Deal', cell: (deal) => link(`/deals/${deal.id}`, deal.title) },
    { label: 'Stage', cell: (deal) => badge(stageOf(deal).label, stageOf(deal).tone) },
    { label: 'Close', cell: (deal) => day(deal.close_date) },
    { label: 'Value', cell: (deal) => amount(deal.value), numeric: true },
  ];
  const list =
    page.total > 0
      ? table('Deals', columns, page.data)
      : element('p', { class: 'muted' }, 'No deals with this company yet.');
  const title = element('h2', {}, count(page.total, 'deal', 'deals'));
  const head = element('div', { class: 'page-head' }, title, session.may('deals.create') && add);
  return element('section', { class: 'stack' }, head, list);
}

function contactsOf(session, company, page) {
  const add = button('New contact', () =>
    attempt(add, () => newContact(session, { company_id: company.id })),
  );
  const columns = [
    { label: 'Name', cell: (contact) => link(`/contacts/${contact.id}`, contact.full_name) },
    { label: 'Job title', cell: (contact) => contact.job_title ?? '' },
    { label: 'Email', cell: (contact) => mail(contact.email) },
  ];
  const list =
    page.total > 0
      ? table('Contacts', columns, page.data)
      : element('p', { class: 'muted' }, 'No contacts at this company yet.');
  const title = element('h2', {}, count(page.total, 'contact', 'contacts'));
  const head = element('div', { class: 'page-head' }, title, session.may('contacts.create') && add);
  return element('section', { class: 'stack' }, head, list);
}

export function link(path, text) {
  return element('a', { href: `#${path}` }, text);
}

export function mail(address) {
  return address ? element('a', { href: `mailto:${address}` }, address) : '';
}

/** Make a link of an address; another text stays a text, so that it can run nothing. */
function website(address) {
  if (!address) return '';
  if (!/^https?:\/\//.test(address)) return address;
  return element('a', { href: address, target: '_blank', rel: 'noreferrer' }, address);
}
