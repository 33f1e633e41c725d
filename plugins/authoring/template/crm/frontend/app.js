/** The pages of the CRM. */
import { showBoard } from './pages/board.js';
import { showCompanies, showCompany } from './pages/companies.js';
import { showContact, showContacts } from './pages/contacts.js';
import { showDeal } from './pages/deal.js';
import { showReports } from './pages/reports.js';
import { startPages } from './ui/pages.js';
import { openSession } from './ui/session.js';

const NAVIGATION = [
  { path: '/deals', label: 'Deals', needs: 'deals.read' },
  { path: '/companies', label: 'Companies', needs: 'companies.read' },
  { path: '/contacts', label: 'Contacts', needs: 'contacts.read' },
  { path: '/reports', label: 'Reports', needs: 'reports.read' },
];

const session = await openSession('sample_app', NAVIGATION);
if (session !== null) {
  await startPages([
    { path: '/deals', show: () => showBoard(session) },
    { path: '/deals/:id', show: ({ id }) => showDeal(session, id) },
    { path: '/companies', show: () => showCompanies(session) },
    { path: '/companies/:id', show: ({ id }) => showCompany(session, id) },
    { path: '/contacts', show: () => showContacts(session) },
    { path: '/contacts/:id', show: ({ id }) => showContact(session, id) },
    { path: '/reports', show: () => showReports(session) },
  ]);
}
