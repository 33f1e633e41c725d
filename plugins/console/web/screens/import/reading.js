/** How a file is read: what was guessed, to look at and to change before anything is written. */
import { html } from '../../core/kit.js';
import { Options } from '../../form/control.js';
import { findSeparator, parseCsv } from './csv.js';
import { CHARSETS, DATES, DECIMALS, SEPARATORS, guessDates, guessDecimal } from './guess.js';

const ASK = ['?', 'please choose'];
const TIMES = ['date', 'timestamp'];

/**
 * The rows of a source as `reading` says, the header first.
 * @param {import('./source.js').Source} source
 */
export function readRows(source, reading) {
  if (source.sheets) return source.sheets[reading.sheet].rows;
  return parseCsv(decode(source, reading.charset), reading.separator);
}

/** @param {import('./source.js').Source} source @param {string} charset */
function decode({ text, bytes }, charset) {
  const decoded = text ?? new TextDecoder(charset).decode(bytes);
  return decoded.replace(/^\ufeff/, '');
}

/** What is guessed of a source before its columns are known. */
export function beginReading(source, sheet = 0) {
  if (source.sheets) return { sheet };
  const { charset } = source;
  return { charset, separator: findSeparator(decode(source, charset)) };
}

/** What is guessed of the cells: `?` where two readings fit and the user has to say which. */
export function guessCells(rows, names, targets) {
  const pick = (isWanted) =>
    rows.flatMap((row) =>
      row.filter((_, index) => {
        const target = targets.find(({ name }) => name === names[index]);
        return target && isWanted(target.field.type);
      }),
    );
  return {
    dates: guessDates(pick((type) => TIMES.includes(type))) ?? '?',
    decimal: guessDecimal(pick((type) => type === 'number')) ?? '?',
  };
}

/** The parameters of the request. */
export const describeReading = ({ dates, decimal }) => ({
  dates: dates === '?' ? undefined : dates || undefined,
  decimal: decimal === '?' ? undefined : decimal || undefined,
});

/** @param {{source: any, reading: any, cells: any, change: Function, changeCells: Function}} props */
export function Reading({ source, reading, cells, change, changeCells }) {
  const choose = (name) => (event) => {
    const { value } = event.target;
    if (name === 'charset') {
      const separator = findSeparator(decode(source, value));
      change({ ...reading, charset: value, separator });
    } else change({ ...reading, [name]: name === 'sheet' ? Number(value) : value });
  };
  const chooseCells = (name) => (event) => changeCells({ ...cells, [name]: event.target.value });
  const sheets = source.sheets?.map(({ name }, index) => [String(index), name]);
  return html`<section class="card">
    <h2>How the file is read</h2>
    <div class="maps">
      ${
        sheets?.length > 1 &&
        html`<${Choice} title="Sheet" choices=${sheets} chosen=${String(reading.sheet)} onChange=${choose('sheet')} />`
      }
      ${
        source.bytes &&
        html`<${Choice} title="Charset" choices=${CHARSETS} chosen=${reading.charset} onChange=${choose('charset')} />`
      }
      ${
        !source.sheets &&
        html`<${Choice} title="Between cells" choices=${SEPARATORS} chosen=${reading.separator} onChange=${choose('separator')} />`
      }
      <${Choice} title="Dates" choices=${DATES} chosen=${cells.dates} onChange=${chooseCells('dates')} />
      <${Choice} title="Fractions" choices=${DECIMALS} chosen=${cells.decimal} onChange=${chooseCells('decimal')} />
    </div>
    ${
      cells.dates === '?' &&
      html`<p class="notice warn" role="alert">
        The dates of this file can be read with the day first or with the month first. Choose one.
      </p>`
    }
  </section>`;
}

function Choice({ title, choices, chosen, onChange }) {
  const all = chosen === '?' ? [ASK, ...choices] : choices;
  return html`<label class="field">
    <span>${title}</span>
    <select onChange=${onChange}>
      <${Options} choices=${all} chosen=${chosen} />
    </select>
  </label>`;
}
