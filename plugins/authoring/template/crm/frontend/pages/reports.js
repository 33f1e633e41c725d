/** Reports: written by a job of the worker, each Monday or when a button is pressed. */
import { amount, STAGES } from '../model.js';
import { badge, element, emptyState, pageHead, table } from '../ui/elements.js';
import { jobButton } from '../ui/jobs.js';
import { notify } from '../ui/messages.js';
import { refresh } from '../ui/pages.js';
import { moment } from '../ui/texts.js';

const SHOWN = 20;

export async function showReports({ app, may }) {
  const page = await app.collection('reports').query({ limit: SHOWN });
  const write = jobButton({
    app,
    label: 'Write a report',
    running: 'Writing…',
    payload: { type: 'report', title: 'Report' },
    done: async () => {
      notify('The report is written.');
      await refresh();
    },
  });
  const head = pageHead('Reports', may('reports.create') && write);
  if (page.total === 0) {
    const words =
      'A report keeps the totals of all stages as they are today. One is written each Monday.';
    return [head, emptyState('No reports yet', words)];
  }
  return [head, ...page.data.map(reportCard)];
}

function reportCard(report) {
  const columns = [
    { label: 'Stage', cell: (row) => stageBadge(row.stage) },
    { label: 'Deals', cell: (row) => String(row.count), numeric: true },
    { label: 'Value', cell: (row) => amount(row.value), numeric: true },
    { label: 'Largest', cell: (row) => row.largest.map((deal) => deal.title).join(', ') },
  ];
  const sums = `${amount(report.open_value)} open, ${amount(report.won_value)} won`;
  return element(
    'section',
    { class: 'stack' },
    element(
      'div',
      { class: 'page-head' },
      element('h2', {}, `${report.title}, ${moment(report.created_at)}`),
      element('span', { class: 'muted' }, sums),
    ),
    table(`${report.title}, ${moment(report.created_at)}`, columns, report.stages),
  );
}

function stageBadge(id) {
  const stage = STAGES.find((row) => row.id === id);
  return stage ? badge(stage.label, stage.tone) : id;
}
