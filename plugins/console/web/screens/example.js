/** The CRM example for a new server; the same manifest as examples/crm/manifest.json, shortened. */
import { post } from '../core/api.js';

const text = (name, settings) => ({ name, type: 'text', ...settings });
const link = (name, entity) => ({ name, type: 'entity_link', references: { entity, field: 'id' } });

export const manifest = {
  appId: 'crm',
  name: 'CRM',
  version: '0.0.1',
  description: 'A simple CRM to manage contacts, companies, and deals',
  dataContract: [
    {
      entityName: 'companies',
      fields: [
        text('name', { required: true }),
        text('industry', {
          enum_values: [
            'Technology',
            'Finance',
            'Healthcare',
            'Retail',
            'Manufacturing',
            'Real Estate',
            'Education',
            'Other',
          ],
        }),
        text('website'),
        text('phone'),
        text('address'),
        text('notes'),
      ],
    },
    {
      entityName: 'contacts',
      fields: [
        text('first_name', { required: true }),
        text('last_name', { required: true }),
        text('email'),
        text('phone'),
        text('job_title'),
        link('company_id', 'companies'),
        text('status', { enum_values: ['Lead', 'Prospect', 'Customer', 'Churned'] }),
        text('notes'),
      ],
    },
    {
      entityName: 'deals',
      fields: [
        text('title', { required: true }),
        { name: 'value', type: 'number' },
        text('stage', {
          required: true,
          enum_values: [
            'Lead',
            'Qualified',
            'Proposal',
            'Negotiation',
            'Closed Won',
            'Closed Lost',
          ],
        }),
        link('contact_id', 'contacts'),
        link('company_id', 'companies'),
        { name: 'close_date', type: 'date' },
        text('notes'),
      ],
    },
    {
      entityName: 'activities',
      fields: [
        text('type', { required: true, enum_values: ['Call', 'Email', 'Meeting', 'Note', 'Task'] }),
        text('subject', { required: true }),
        text('body'),
        link('contact_id', 'contacts'),
        link('deal_id', 'deals'),
        { name: 'due_date', type: 'date' },
        { name: 'done', type: 'boolean' },
      ],
    },
  ],
};

const COMPANIES = [
  ['Northwind Analytics', 'Technology'],
  ['Harbor Credit Union', 'Finance'],
  ['Lakeside Clinic', 'Healthcare'],
  ['Field & Fern', 'Retail'],
  ['Ironbridge Tools', 'Manufacturing'],
  ['Juniper Homes', 'Real Estate'],
  ['Brightwater Academy', 'Education'],
  ['Solstice Foods', 'Other'],
];
const FIRST = [
  'Amara',
  'Ben',
  'Chiara',
  'Dev',
  'Elif',
  'Finn',
  'Grace',
  'Hugo',
  'Ines',
  'Jonas',
  'Kaya',
  'Leo',
];
const LAST = [
  'Okafor',
  'Larsen',
  'Ricci',
  'Mehta',
  'Demir',
  'Walsh',
  'Nakamura',
  'Silva',
  'Novak',
  'Keller',
  'Adeyemi',
  'Brandt',
];
const JOBS = ['Head of Operations', 'CTO', 'Buyer', 'Office Manager', 'Founder'];
const DEALS = [
  'Annual licence',
  'Pilot project',
  'Support contract',
  'Migration',
  'Training week',
  'Renewal',
];
const SUBJECTS = [
  ['Call', 'Intro call'],
  ['Email', 'Sent the offer'],
  ['Meeting', 'Demo on site'],
  ['Note', 'Wants a discount'],
  ['Task', 'Follow up'],
];
const writeDay = (days) => new Date(Date.now() + days * 86400000).toISOString().slice(0, 10);

/** The values of a field that has a choice. */
function findChoices(entityName, fieldName) {
  const entity = manifest.dataContract.find((candidate) => candidate.entityName === entityName);
  const fields = /** @type {any[]} */ (entity.fields);
  return fields.find((field) => field.name === fieldName).enum_values;
}

/** Fill the app with records that look like a small company's. */
export async function createRecords(appId) {
  const bulk = (entity, rows) => post(`/api/v1/apps/${appId}/collections/${entity}/bulk`, rows);
  const pick = (list, index) => list[index % list.length];
  const stages = findChoices('deals', 'stage');
  const states = findChoices('contacts', 'status');
  const companies = await bulk(
    'companies',
    COMPANIES.map(([name, industry], index) => ({
      name,
      industry,
      website: `https://${name.toLowerCase().replace(/[^a-z]+/g, '')}.example`,
      phone: `+1 555 01${10 + index}`,
    })),
  );
  const contacts = await bulk(
    'contacts',
    FIRST.flatMap((first_name, index) =>
      [0, 1].map((number) => {
        const last_name = pick(LAST, index + number * 5);
        return {
          first_name,
          last_name,
          email: `${first_name}.${last_name}@example.com`.toLowerCase(),
          job_title: pick(JOBS, index + number),
          company_id: pick(companies, index + number * 3).id,
          status: pick(states, index + number),
        };
      }),
    ),
  );
  const deals = await bulk(
    'deals',
    contacts.map((contact, index) => ({
      title: `${pick(DEALS, index)} ${pick(COMPANIES, index)[0]}`,
      value: 1500 + ((index * 7919) % 480) * 100,
      stage: pick(stages, index * 5),
      contact_id: contact.id,
      company_id: contact.company_id,
      close_date: writeDay(index * 6 - 40),
    })),
  );
  await bulk(
    'activities',
    deals.map((deal, index) => ({
      type: pick(SUBJECTS, index)[0],
      subject: pick(SUBJECTS, index)[1],
      contact_id: deal.contact_id,
      deal_id: deal.id,
      due_date: writeDay(index * 2 - 12),
      done: index % 3 === 0,
    })),
  );
}
