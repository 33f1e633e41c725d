/** What the pages know of deals: stages, colours, the currency, and the fields of forms. */
import { readOptions } from './ui/records.js';
import { money } from './ui/texts.js';

export const CURRENCY = 'EUR';

export const STAGES = [
  { id: 'lead', label: 'Lead', tone: 'gray' },
  { id: 'qualified', label: 'Qualified', tone: 'blue' },
  { id: 'proposal', label: 'Proposal', tone: 'violet' },
  { id: 'negotiation', label: 'Negotiation', tone: 'amber' },
  { id: 'won', label: 'Won', tone: 'green' },
  { id: 'lost', label: 'Lost', tone: 'red' },
];

const INDUSTRIES = [
  'Finance',
  'Health',
  'Manufacturing',
  'Retail',
  'Services',
  'Technology',
  'Other',
];

/** What `documents` takes, as manifest.json declares it. */
export const DOCUMENTS = { accept: 'image/*,application/pdf,text/*', maxSize: 20_000_000 };

export function stageOf(deal) {
  return STAGES.find((stage) => stage.id === deal.stage);
}

export function amount(value) {
  return money(value, CURRENCY);
}

export const COMPANY_FIELDS = [
  { name: 'name', label: 'Name', required: true },
  {
    name: 'industry',
    label: 'Industry',
    type: 'select',
    options: INDUSTRIES.map((industry) => [industry, industry]),
  },
  { name: 'website', label: 'Website', type: 'url', hint: 'such as https://example.com' },
  { name: 'phone', label: 'Phone', type: 'tel' },
  { name: 'city', label: 'City' },
  { name: 'notes', label: 'Notes', type: 'textarea' },
];

/** Fields of a contact; the companies to choose from are read from the server. */
export async function contactFields(app) {
  const companies = await readOptions(app.collection('companies'), 'name');
  return [
    { name: 'first_name', label: 'First name', required: true },
    { name: 'last_name', label: 'Last name', required: true },
    { name: 'job_title', label: 'Job title' },
    { name: 'company_id', label: 'Company', type: 'select', options: companies },
    { name: 'email', label: 'Email', type: 'email' },
    { name: 'phone', label: 'Phone', type: 'tel' },
    { name: 'notes', label: 'Notes', type: 'textarea' },
  ];
}

/** Fields of a deal; companies and contacts to choose from are read from the server. */
export async function dealFields(app) {
  const [companies, contacts] = await Promise.all([
    readOptions(app.collection('companies'), 'name'),
    readOptions(app.collection('contacts'), 'full_name'),
  ]);
  const stages = STAGES.map((stage) => [stage.id, stage.label]);
  return [
    { name: 'title', label: 'Title', required: true },
    { name: 'value', label: `Value in ${CURRENCY}`, type: 'number', required: true },
    { name: 'stage', label: 'Stage', type: 'select', required: true, options: stages },
    { name: 'company_id', label: 'Company', type: 'select', options: companies },
    { name: 'contact_id', label: 'Contact', type: 'select', options: contacts },
    { name: 'close_date', label: 'Expected close', type: 'date' },
    { name: 'notes', label: 'Notes', type: 'textarea' },
  ];
}
