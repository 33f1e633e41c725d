/** The pages of the helpdesk. */
import { showTicket } from './pages/ticket.js';
import { showTickets } from './pages/tickets.js';
import { startPages } from './ui/pages.js';
import { openSession } from './ui/session.js';

const NAVIGATION = [{ path: '/tickets', label: 'Tickets', needs: 'tickets.read' }];

const session = await openSession('sample_app', NAVIGATION);
if (session !== null) {
  await startPages([
    { path: '/tickets', show: () => showTickets(session) },
    { path: '/tickets/:id', show: ({ id }) => showTicket(session, id) },
  ]);
}
