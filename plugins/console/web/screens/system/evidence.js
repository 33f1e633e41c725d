/** Whether the trail is as it was sealed: one line for core admins. */
import { html } from '../../core/kit.js';
import { get } from '../../core/api.js';
import { Ago } from '../../core/times.js';
import { useLoad } from '../../core/ui.js';

const PATH = '/api/v1/audit/evidence';
/** The rows that are compared each time: those of the last hour. All of them are the command's. */
const HOUR = 3600_000;

/** What is wrong, as `caudex audit verify` says it. */
function describe(problem) {
  if (problem.kind === 'seal')
    return `Seal ${problem.id} is not as it was signed, or does not follow its predecessor`;
  return `Row ${problem.id} was ${problem.kind} after it was sealed`;
}

/** How many rows have no seal yet. */
const countPending = (count) =>
  count === 1 ? 'one newer row is not sealed yet' : `${count} newer rows are not sealed yet`;

export function Evidence() {
  const loaded = useLoad(
    (signal) => get(PATH, { since: new Date(Date.now() - HOUR).toISOString() }, { signal }),
    [],
  );
  if (loaded.error) return html`<p class="dim evidence">${loaded.error.message}</p>`;
  const report = loaded.data;
  if (!report) return html`<p class="dim evidence">Comparing the trail with its seals…</p>`;
  if (report.problem)
    return html`<p class="evidence" role="alert">
      <span class="tag bad">changed</span>${' '}${describe(report.problem)}
      ${report.problem.at && html` (<${Ago} at=${report.problem.at} />)`}.
    </p>`;
  if (!report.verified_until) return html`<p class="dim evidence">No row is sealed yet.</p>`;
  return html`<p class="dim evidence">
    <span class="tag good">verified</span>${' '}up to <${Ago} at=${report.verified_until} />
    ${report.pending > 0 && html`, ${countPending(report.pending)}`}
  </p>`;
}
