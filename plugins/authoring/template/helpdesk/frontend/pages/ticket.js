/** One ticket: what it is about, what was said, and for agents who works on it. */
import {
  ATTACHMENT,
  CATEGORIES,
  isAgent,
  optionsOf,
  PRIORITIES,
  priorityBadge,
  readPeople,
  statusBadge,
  STATUSES,
  TICKET_FIELDS,
} from '../model.js';
import { badge, button, element, facts, pageHead } from '../ui/elements.js';
import { fileList } from '../ui/files.js';
import { confirmDelete, openForm } from '../ui/forms.js';
import { attempt, notify } from '../ui/messages.js';
import { go, refresh } from '../ui/pages.js';
import { ago, personName } from '../ui/texts.js';

export async function showTicket(session, id) {
  const { app, may } = session;
  const tickets = app.collection('tickets');
  const [ticket, comments] = await Promise.all([
    tickets.get(id, { expand: ['requester_id', 'assignee_id'] }),
    app.rpc('conversation', { ticket: id }),
  ]);
  const edit = button('Edit', () => editTicket(session, ticket));
  const drop = button('Delete', () => attempt(drop, () => remove(tickets, ticket)), {
    class: 'danger',
  });
  const description = {
    text: ticket.description ?? ticket.subject,
    created_at: ticket.created_at,
    expand: { author_id: ticket.expand.requester_id },
  };
  const entries = [description, ...comments].map((comment) => entry(comment));
  const attachment = fileList({
    app,
    files: ticket.attachment ? [ticket.attachment] : [],
    limit: 1,
    save: async (files) => {
      await tickets.update(id, { attachment: files[0]?.id ?? null });
      notify('Saved.');
      await refresh();
    },
    ...ATTACHMENT,
  });
  return [
    element('a', { class: 'back', href: '#/tickets' }, '← All tickets'),
    pageHead(ticket.subject, edit, may('tickets.delete') && drop),
    element(
      'div',
      { class: 'columns main-side' },
      element(
        'div',
        { class: 'stack' },
        element('ul', { class: 'conversation', 'aria-label': 'Conversation' }, entries),
        answerForm(session, ticket),
      ),
      element(
        'div',
        { class: 'stack' },
        isAgent(session) ? await agentCard(session, ticket) : factCard(ticket),
        element('section', { class: 'card stack' }, element('h2', {}, 'Attachment'), attachment),
      ),
    ),
  ];
}

function entry(comment) {
  const author = personName(comment.expand.author_id) || 'Helpdesk';
  return element(
    'li',
    { class: comment.internal ? 'entry internal' : 'entry' },
    element('span', { class: 'avatar', 'aria-hidden': 'true' }, author.slice(0, 2)),
    element(
      'div',
      { class: 'card' },
      element(
        'header',
        {},
        element('strong', {}, author),
        element('small', { class: 'muted' }, ago(comment.created_at)),
        comment.internal && badge('Internal', 'amber'),
      ),
      element('p', { class: 'text' }, comment.text),
    ),
  );
}

function answerForm(session, ticket) {
  const agent = isAgent(session);
  const text = element('textarea', { rows: 4, required: true });
  const internal = element('input', { type: 'checkbox' });
  const send = element('button', { class: 'primary' }, 'Send');
  const close = button(agent ? 'Send and close' : 'It is solved', () => answer(close, true));
  const form = element(
    'form',
    { class: 'card stack' },
    element('label', {}, element('span', {}, agent ? 'Answer' : 'Comment'), text),
    agent && element('label', { class: 'check' }, internal, 'Internal note, for agents only'),
    element('div', { class: 'actions' }, send, ticket.status !== 'closed' && close),
  );

  function answer(control, isLast) {
    if (isLast && !agent && text.value.trim() === '') text.value = 'It is solved.';
    if (!form.reportValidity()) return undefined;
    return attempt(control, async () => {
      await session.app.rpc('comment', {
        ticket: ticket.id,
        text: text.value,
        internal: internal.checked,
        close: isLast,
      });
      await refresh();
    });
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    answer(send, false);
  });
  return form;
}

/** Make the card in which an agent changes status, priority and assignee. */
async function agentCard(session, ticket) {
  const people = await readPeople(session);
  const assigned = ticket.expand.assignee_id;
  const isListed = people.some(([id]) => id === assigned?.id);
  const former = assigned && !isListed ? [[assigned.id, personName(assigned)]] : [];
  const rows = [
    ['status', 'Status', optionsOf(STATUSES)],
    ['priority', 'Priority', optionsOf(PRIORITIES)],
    ['assignee_id', 'Assignee', [['', 'Not assigned'], ...people, ...former]],
  ];
  const selects = rows.map(([name, label, options]) => {
    const choices = options.map(([value, words]) => element('option', { value }, words));
    const select = element('select', { name }, choices);
    select.value = ticket[name] ?? '';
    select.addEventListener('change', () => change(session, ticket, name, select));
    return element('label', {}, element('span', {}, label), select);
  });
  const from = facts([
    ['From', personName(ticket.expand.requester_id)],
    ['Category', categoryOf(ticket)],
  ]);
  return element('section', { class: 'card stack' }, element('h2', {}, 'Ticket'), selects, from);
}

async function change({ app }, ticket, name, select) {
  await attempt(select, async () => {
    await app.collection('tickets').update(ticket.id, { [name]: select.value || null });
    notify('Saved.');
  });
  await refresh();
}

function factCard(ticket) {
  const rows = [
    ['Status', statusBadge(ticket)],
    ['Priority', priorityBadge(ticket)],
    ['Category', categoryOf(ticket)],
    ['Assignee', personName(ticket.expand.assignee_id)],
    ['Opened', ago(ticket.created_at)],
  ];
  return element('section', { class: 'card stack' }, element('h2', {}, 'Ticket'), facts(rows));
}

function categoryOf(ticket) {
  return CATEGORIES.find((category) => category.id === ticket.category)?.label;
}

function editTicket({ app }, ticket) {
  openForm({
    title: 'Edit ticket',
    fields: TICKET_FIELDS,
    values: ticket,
    save: async (changes) => {
      await app.collection('tickets').update(ticket.id, changes);
      notify('Saved.');
      await refresh();
    },
  });
}

async function remove(tickets, ticket) {
  const consequence = 'Its comments and its attachment are deleted with it.';
  if (!(await confirmDelete('Delete the ticket?', consequence))) return;
  await tickets.delete(ticket.id);
  notify('The ticket is deleted.');
  go('/tickets');
}
