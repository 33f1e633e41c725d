/** The board: a lane for each stage, with its total. A deal moves by a hand or by its buttons. */
import { newDeal } from '../editing.js';
import { amount, STAGES } from '../model.js';
import { createSample } from '../sample.js';
import { badge, button, element, emptyState, pageHead } from '../ui/elements.js';
import { attempt, notify, showError } from '../ui/messages.js';
import { refresh } from '../ui/pages.js';
import { count, day, personName } from '../ui/texts.js';

const SHOWN = 500;

export async function showBoard(session) {
  const { app, may } = session;
  const [pipeline, page] = await Promise.all([app.rpc('pipeline'), readDeals(app)]);
  const create = button('New deal', () => attempt(create, () => newDeal(session)), {
    class: 'primary',
  });
  const head = pageHead('Deals', may('deals.create') && create);
  if (page.total === 0) return [head, noDeals(session)];

  const lanes = STAGES.map((stage) => {
    const deals = page.data.filter((deal) => deal.stage === stage.id);
    const totals = pipeline.stages.find((row) => row.stage === stage.id);
    return lane(session, stage, deals, totals);
  });
  const board = element('div', { class: 'board' }, lanes);
  const isCut = page.total > SHOWN;
  const note = isCut && element('p', { class: 'muted' }, `The newest ${SHOWN} of ${page.total}.`);
  return [head, figures(pipeline), board, note].filter(Boolean);
}

function readDeals(app) {
  return app.collection('deals').query({
    limit: SHOWN,
    orderBy: 'created_at',
    order: 'desc',
    expand: [{ company_id: { fields: ['name'] } }, 'owner_id'],
  });
}

function figures(pipeline) {
  const rows = [
    ['Open', pipeline.open],
    ['Forecast', pipeline.forecast],
    ['Won', pipeline.won],
  ];
  return element(
    'div',
    { class: 'figures' },
    rows.map(([label, value]) =>
      element(
        'div',
        { class: 'figure' },
        element('span', { class: 'muted small' }, label),
        element('strong', {}, amount(value)),
      ),
    ),
  );
}

function noDeals(session) {
  const sample = button('Fill with sample data', () =>
    attempt(sample, async () => {
      await createSample(session);
      notify('Sample data is there.');
      await refresh();
    }),
  );
  const mayCreate = session.may('deals.create') && session.may('companies.create');
  return emptyState(
    'No deals yet',
    'A deal is something that a company may buy. It moves over the board from left to right.',
    mayCreate && sample,
  );
}

function lane(session, stage, deals, totals) {
  const label = element('h2', {}, badge(stage.label, stage.tone));
  const sum = element(
    'span',
    { class: 'muted small' },
    `${count(totals.count, 'deal', 'deals')} · ${amount(totals.value)}`,
  );
  const cards = element(
    'ul',
    {},
    deals.map((deal) => card(session, deal)),
  );
  const node = element(
    'section',
    { class: 'lane', tabindex: '0', 'aria-label': stage.label },
    element('header', {}, label, sum),
    cards,
  );
  node.addEventListener('dragover', (event) => {
    event.preventDefault();
    node.classList.add('over');
  });
  node.addEventListener('dragleave', () => node.classList.remove('over'));
  node.addEventListener('drop', (event) => {
    event.preventDefault();
    node.classList.remove('over');
    move(session, event.dataTransfer.getData('text/plain'), stage);
  });
  return node;
}

function card(session, deal) {
  const mayMove = session.may('deals.update');
  const { company_id: company, owner_id: owner } = deal.expand;
  const details = [day(deal.close_date), personName(owner)].filter(Boolean);
  const node = element(
    'li',
    { class: 'deal', draggable: mayMove ? 'true' : false },
    element('a', { href: `#/deals/${deal.id}`, draggable: 'false' }, deal.title),
    element('span', { class: 'small' }, company?.name),
    element('span', { class: 'muted small' }, details.join(' · ')),
    element(
      'footer',
      {},
      element('strong', {}, amount(deal.value)),
      mayMove && steps(session, deal),
    ),
  );
  node.addEventListener('dragstart', (event) => {
    event.dataTransfer.setData('text/plain', deal.id);
    node.classList.add('dragged');
  });
  node.addEventListener('dragend', () => node.classList.remove('dragged'));
  return node;
}

/** Make the buttons that move a deal one stage back or on. */
function steps(session, deal) {
  const index = STAGES.findIndex((stage) => stage.id === deal.stage);
  const step = (stage, sign) =>
    stage &&
    button(sign, () => move(session, deal.id, stage), {
      class: 'plain',
      'aria-label': `Move ${deal.title} to ${stage.label}`,
    });
  return element('span', {}, step(STAGES[index - 1], '←'), step(STAGES[index + 1], '→'));
}

async function move({ app }, id, stage) {
  try {
    const deal = await app.collection('deals').update(id, { stage: stage.id });
    notify(`${deal.title}: ${stage.label}`);
    await refresh();
  } catch (error) {
    showError(error);
  }
}
