/** One deal: its stage, its facts, its notes and its documents. */
import { editDeal, remove } from '../editing.js';
import { amount, DOCUMENTS, STAGES } from '../model.js';
import { button, element, facts, pageHead } from '../ui/elements.js';
import { fileList } from '../ui/files.js';
import { attempt, notify } from '../ui/messages.js';
import { refresh } from '../ui/pages.js';
import { ago, day, personName } from '../ui/texts.js';

export async function showDeal(session, id) {
  const { app, may } = session;
  const deals = app.collection('deals');
  const deal = await deals.get(id, { expand: ['company_id', 'contact_id', 'owner_id'] });
  const { company_id: company, contact_id: contact, owner_id: owner } = deal.expand;
  const consequence = 'Its documents are deleted with it. The audit trail keeps what it was.';
  const edit = button('Edit', () => attempt(edit, () => editDeal(session, deal)));
  const drop = button(
    'Delete',
    () => attempt(drop, () => remove(deals, deal, deal.title, consequence, '/deals')),
    { class: 'danger' },
  );
  const rows = [
    ['Value', amount(deal.value)],
    ['Company', company && element('a', { href: `#/companies/${company.id}` }, company.name)],
    ['Contact', contact && element('a', { href: `#/contacts/${contact.id}` }, contact.full_name)],
    ['Expected close', day(deal.close_date)],
    ['Owner', personName(owner)],
    ['Changed', ago(deal.updated_at)],
  ];
  const notes = deal.notes
    ? element('p', { class: 'text' }, deal.notes)
    : element('p', { class: 'muted' }, 'No notes.');
  const saveDocuments = async (documents) => {
    await deals.update(id, { documents: documents.map((file) => file.id) });
    notify('Saved.');
    await refresh();
  };
  const documents = fileList({
    app,
    files: deal.documents ?? [],
    save: may('deals.update') ? saveDocuments : null,
    ...DOCUMENTS,
  });
  return [
    element('a', { class: 'back', href: '#/deals' }, '← All deals'),
    pageHead(deal.title, may('deals.update') && edit, may('deals.delete') && drop),
    stagePicker(session, deal),
    element(
      'div',
      { class: 'columns main-side' },
      element(
        'div',
        { class: 'stack' },
        element('section', { class: 'card stack' }, element('h2', {}, 'Notes'), notes),
        element('section', { class: 'card stack' }, element('h2', {}, 'Documents'), documents),
      ),
      element('section', { class: 'card stack' }, element('h2', {}, 'Facts'), facts(rows)),
    ),
  ];
}

/** Make a button for each stage; the present one is pressed. */
function stagePicker({ app, may }, deal) {
  const buttons = STAGES.map((stage) => {
    const isPresent = stage.id === deal.stage;
    const pick = button(
      stage.label,
      () =>
        attempt(pick, async () => {
          await app.collection('deals').update(deal.id, { stage: stage.id });
          notify(`Stage: ${stage.label}`);
          await refresh();
        }),
      { 'aria-pressed': String(isPresent), disabled: isPresent ? false : !may('deals.update') },
    );
    return pick;
  });
  return element('div', { class: 'actions', role: 'group', 'aria-label': 'Stage' }, buttons);
}
