/** Tickets: the list, with what is to do first; customers see their own. */
import { isAgent, priorityBadge, STATUSES, statusBadge, TICKET_FIELDS } from '../model.js';
import { button, element, emptyState, pageHead, table } from '../ui/elements.js';
import { openForm } from '../ui/forms.js';
import { jobButton } from '../ui/jobs.js';
import { notify } from '../ui/messages.js';
import { go, refresh } from '../ui/pages.js';
import { searchedList } from '../ui/records.js';
import { ago, count, personName } from '../ui/texts.js';

/** What is shown, while the page is open: it is the same after a look at a ticket. */
let filter = 'todo';

export async function showTickets(session) {
  const { app, may } = session;
  const tickets = app.collection('tickets');
  const create = button('New ticket', () => newTicket(session), { class: 'primary' });
  const agent = isAgent(session);
  const totals = await readTotals(tickets);
  const list = await searchedList({
    label: 'Search tickets',
    load: (page) =>
      tickets.query({
        ...page,
        where: conditions(session),
        ...(page.search ? {} : { orderBy: 'updated_at', order: 'desc' }),
        expand: ['requester_id', 'assignee_id'],
      }),
    render: (records) => ticketTable(records, agent),
    empty: (search) => noTickets(search, totals),
  });
  return [
    pageHead('Tickets', agent && staleButton(app), may('tickets.create') && create),
    filters(session, totals),
    list,
  ];
}

/** Count the tickets of each status, of those that the user may see. */
async function readTotals(tickets) {
  const page = await tickets.query({ groupBy: ['status'], aggregate: { count: { $count: '*' } } });
  return new Map(page.data.map((group) => [group.status, group.count]));
}

function conditions({ me }) {
  if (filter === 'todo') return { status: { $ne: 'closed' } };
  if (filter === 'mine') return { assignee_id: me.id, status: { $ne: 'closed' } };
  return { status: filter };
}

function filters(session, totals) {
  const choices = [
    ['todo', 'To do'],
    ...(isAgent(session) ? [['mine', 'Assigned to me']] : []),
    ...STATUSES.map((status) => [status.id, `${status.label} ${totals.get(status.id) ?? 0}`]),
  ];
  const buttons = choices.map(([id, label]) =>
    button(
      label,
      () => {
        filter = id;
        refresh();
      },
      { 'aria-pressed': String(filter === id) },
    ),
  );
  return element('div', { class: 'actions', role: 'group', 'aria-label': 'Show' }, buttons);
}

function ticketTable(tickets, agent) {
  const columns = [
    {
      label: 'Subject',
      cell: (ticket) => element('a', { href: `#/tickets/${ticket.id}` }, ticket.subject),
    },
    { label: 'Status', cell: statusBadge },
    { label: 'Priority', cell: priorityBadge },
    ...(agent ? [{ label: 'From', cell: (ticket) => personName(ticket.expand.requester_id) }] : []),
    { label: 'Assignee', cell: (ticket) => personName(ticket.expand.assignee_id) },
    { label: 'Changed', cell: (ticket) => ago(ticket.updated_at) },
  ];
  return table('Tickets', columns, tickets);
}

function noTickets(search, totals) {
  if (search) return emptyState('Nothing found', `No ticket here matches “${search}”.`);
  const isFirst = totals.size === 0;
  if (isFirst) return emptyState('No tickets yet', 'Open one when something is wrong, or missing.');
  return emptyState('Nothing here', 'There are tickets with another status.');
}

function staleButton(app) {
  return jobButton({
    app,
    label: 'Close stale ones',
    running: 'Closing…',
    payload: { type: 'close_stale' },
    done: async ({ closed }) => {
      notify(`${count(closed, 'ticket', 'tickets')} closed.`);
      await refresh();
    },
  });
}

function newTicket({ app }) {
  openForm({
    title: 'New ticket',
    fields: TICKET_FIELDS,
    values: { category: 'question' },
    action: 'Open',
    save: async (values) => {
      const ticket = await app.rpc('open_ticket', { category: 'question', ...values });
      notify('The ticket is open.');
      go(`/tickets/${ticket.id}`);
    },
  });
}
