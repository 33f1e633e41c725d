/** What the pages know of tickets: words and colours of their values, and the fields of forms. */
import { badge } from './ui/elements.js';
import { personName } from './ui/texts.js';

export const STATUSES = [
  { id: 'new', label: 'New', tone: 'blue' },
  { id: 'open', label: 'Open', tone: 'amber' },
  { id: 'waiting', label: 'Waiting for customer', tone: 'violet' },
  { id: 'closed', label: 'Closed', tone: 'gray' },
];

export const PRIORITIES = [
  { id: 'low', label: 'Low', tone: 'gray' },
  { id: 'normal', label: 'Normal', tone: 'gray' },
  { id: 'high', label: 'High', tone: 'amber' },
  { id: 'urgent', label: 'Urgent', tone: 'red' },
];

export const CATEGORIES = [
  { id: 'question', label: 'Question' },
  { id: 'problem', label: 'Problem' },
  { id: 'wish', label: 'Wish' },
];

/** What `attachment` takes, as manifest.json declares it. */
export const ATTACHMENT = { accept: 'image/*,application/pdf,text/*', maxSize: 20_000_000 };

export const TICKET_FIELDS = [
  { name: 'subject', label: 'Subject', required: true },
  {
    name: 'category',
    label: 'Category',
    type: 'select',
    required: true,
    options: optionsOf(CATEGORIES),
  },
  { name: 'description', label: 'What happened?', type: 'textarea' },
];

/** Return values as options of a select. */
export function optionsOf(values) {
  return values.map((value) => [value.id, value.label]);
}

export function statusBadge(ticket) {
  return badgeOf(STATUSES, ticket.status);
}

export function priorityBadge(ticket) {
  return badgeOf(PRIORITIES, ticket.priority);
}

function badgeOf(values, id) {
  const value = values.find((candidate) => candidate.id === id);
  return badge(value.label, value.tone);
}

/** Whether the user answers tickets: only agents may read all comments. */
export function isAgent({ may }) {
  return may('comments.read');
}

/** Read the people who have a role on the app, as options of a select. */
export async function readPeople(session) {
  const users = await session.readUsers();
  return users.map((user) => [user.id, personName(user)]);
}
