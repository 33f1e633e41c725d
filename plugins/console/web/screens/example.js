/** The CRM example for a new server; the same manifest as examples/crm/manifest.json, shortened. */
import { post } from '../core/api.js';

const text = (name, more) => ({ name, type: 'text', ...more });
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
const day = (n) => new Date(Date.now() + n * 86400000).toISOString().slice(0, 10);

/** Fill the app with records that look like a small company's. */
export async function records(appId) {
  const bulk = (entity, rows) => post(`/api/v1/apps/${appId}/collections/${entity}/bulk`, rows);
  const pick = (list, i) => list[i % list.length];
  const stages = manifest.dataContract[2].fields[2].enum_values;
  const states = manifest.dataContract[1].fields[6].enum_values;
  const companies = await bulk(
    'companies',
    COMPANIES.map(([name, industry], i) => ({
      name,
      industry,
      website: `https://${name.toLowerCase().replace(/[^a-z]+/g, '')}.example`,
      phone: `+1 555 01${10 + i}`,
    })),
  );
  const contacts = await bulk(
    'contacts',
    FIRST.flatMap((first_name, i) =>
      [0, 1].map((n) => {
        const last_name = pick(LAST, i + n * 5);
        return {
          first_name,
          last_name,
          email: `${first_name}.${last_name}@example.com`.toLowerCase(),
          job_title: pick(JOBS, i + n),
          company_id: pick(companies, i + n * 3).id,
          status: pick(states, i + n),
        };
      }),
    ),
  );
  const deals = await bulk(
    'deals',
    contacts.map((contact, i) => ({
      title: `${pick(DEALS, i)} ${pick(COMPANIES, i)[0]}`,
      value: 1500 + ((i * 7919) % 480) * 100,
      stage: pick(stages, i * 5),
      contact_id: contact.id,
      company_id: contact.company_id,
      close_date: day(i * 6 - 40),
    })),
  );
  await bulk(
    'activities',
    deals.map((deal, i) => ({
      type: pick(SUBJECTS, i)[0],
      subject: pick(SUBJECTS, i)[1],
      contact_id: deal.contact_id,
      deal_id: deal.id,
      due_date: day(i * 2 - 12),
      done: i % 3 === 0,
    })),
  );
}
