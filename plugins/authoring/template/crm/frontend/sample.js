/** A few records to try the app with, created together or not at all. */

const COMPANIES = [
  ['alder', { name: 'Alder & Sons', industry: 'Manufacturing', city: 'Lyon' }],
  ['brightwater', { name: 'Brightwater Clinic', industry: 'Health', city: 'Porto' }],
  ['copper', { name: 'Copper Street Coffee', industry: 'Retail', city: 'Leeds' }],
];
const CONTACTS = [
  ['ines', 'Inês', 'Carvalho', 'Head of purchasing', 'brightwater'],
  ['marc', 'Marc', 'Alder', 'Owner', 'alder'],
  ['ruth', 'Ruth', 'Okafor', 'Founder', 'copper'],
];
const DEALS = [
  ['Chairs for the new hall', 'lead', 4200, 'alder', 'marc'],
  ['Reception desk', 'qualified', 9800, 'brightwater', 'ines'],
  ['Shelves for four shops', 'qualified', 6100, 'copper', 'ruth'],
  ['Workbenches', 'proposal', 18500, 'alder', 'marc'],
  ['Waiting room', 'negotiation', 23900, 'brightwater', 'ines'],
  ['Bar stools', 'won', 3400, 'copper', 'ruth'],
  ['Outdoor tables', 'lost', 5200, 'copper', 'ruth'],
];
const DAY = 86_400_000;

export function createSample({ app, me }) {
  const companies = COMPANIES.map(([as, data]) => ({
    op: 'create',
    entity: 'companies',
    as,
    data,
  }));
  const contacts = CONTACTS.map(([as, first_name, last_name, job_title, company]) => ({
    op: 'create',
    entity: 'contacts',
    as,
    data: { first_name, last_name, job_title, company_id: { $ref: `${company}.id` } },
  }));
  const deals = DEALS.map(([title, stage, value, company, contact], index) => ({
    op: 'create',
    entity: 'deals',
    data: {
      title,
      stage,
      value,
      company_id: { $ref: `${company}.id` },
      contact_id: { $ref: `${contact}.id` },
      owner_id: me.id,
      close_date: new Date(Date.now() + (index + 1) * 6 * DAY).toISOString().slice(0, 10),
    },
  }));
  return app.batch([...companies, ...contacts, ...deals]);
}
