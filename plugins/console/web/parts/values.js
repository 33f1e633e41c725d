/**
 * How a value of a field is shown and typed. Numbers and dates are written as the language of the user
 * has them, and a number stays the digits that the server sent.
 */
import { html } from '../core/kit.js';
import { post, url } from '../core/api.js';
import { Digits, parse, stringify } from '../core/json.js';
import { A } from '../core/router.js';
import { formatTime } from '../core/screen.js';
import { nameField } from '../core/store.js';
import { fail, icon } from '../core/ui.js';
import { Tile } from '../kit/tile.js';
import { findTitleFields, shortenId } from './titles.js';

/** Letters of a value that a cell shows. */
const MOST_LETTERS = 300;
const MOST_JSON = 200;

const SYSTEM = [
  { name: 'created_at', type: 'timestamp', system: true },
  { name: 'updated_at', type: 'timestamp', system: true },
];
const ID = { name: 'id', type: 'uuid', system: true };

/** Every field of an entity that a table can show. */
export const listFields = (entity) => [
  ...entity.fields,
  { ...ID, type: entity.id_type },
  ...SYSTEM,
];

/** A value as text for a field to type in. */
export function toText(field, value) {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'object') return String(value);
  if (value instanceof Digits && field.type === 'number') return String(value);
  const isLines = Array.isArray(value) && field.type === '[text]';
  return isLines ? value.join('\n') : stringify(value, 2);
}

/** What was typed as the value to send. Numbers and dates stay text: the server reads exactly. */
export function parseText(field, text) {
  if (text === '' && field.type !== 'text') return null;
  if (field.type === '[text]') return text.split('\n').filter(Boolean);
  const isJson = field.type === '[number]' || field.type === 'json' || isManaged(field);
  if (!isJson) return text;
  try {
    return parse(text);
  } catch (error) {
    throw new Error(`${field.name}: this is not JSON: ${error.message}`);
  }
}

/** A time as an input shows it, in the zone of the user. @param {Date} time */
export function writeLocal(time) {
  const shifted = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, -1);
}

/** Whether two values are the same JSON; nothing and null are alike. */
export const isSame = (left, right) => stringify(left ?? null) === stringify(right ?? null);

const BLANK = html`<span class="dim">–</span>`;

/** One line, for a cell. `title` is the title of the linked record. */
export function Value({ field, value, title, appId }) {
  if (field.page) return html`<${Tile} page=${field.page} field=${field} value=${value} />`;
  if (value === null || value === undefined || value === '') return BLANK;
  if (field.references)
    return html`<${Link} appId=${appId} target=${field.references} id=${value} title=${title} />`;
  if (isManaged(field)) return html`<${FileNames} value=${value} appId=${appId} />`;
  if (field.format) return html`<${Formatted} field=${field} value=${value} />`;
  switch (field.type) {
    case 'boolean':
      return html`<${Flag} value=${value} />`;
    case 'number':
      return html`<${Amount} field=${field} value=${value} />`;
    case 'date':
      return html`<time datetime=${value} title=${value}>${formatDate(value)}</time>`;
    case 'timestamp':
      return html`<time datetime=${value} title=${value}>${formatTime(value)}</time>`;
    case 'uuid':
      return html`<code class="dim" title=${value}>${shortenId(value)}</code>`;
    case '[text]':
      return value.map((item) => html`<span class="tag">${item}</span>`);
    case 'json':
    case '[number]':
      return html`<code class="cut">${stringify(value).slice(0, MOST_JSON)}</code>`;
    default:
      if (field.enum_values?.length)
        return html`<span class=${`tag ${tintOf(field, value)}`}>${value}</span>`;
      return html`<span class="cut">${String(value).slice(0, MOST_LETTERS)}</span>`;
  }
}

/** The classes of a choice that the manifest gives a colour. */
export const tintOf = (field, value) => {
  const colour = field?.colours?.[value];
  return colour ? `tint ${colour}` : '';
};

/** The classes of a record: those of its first choice with a colour, but for `except`. */
export function tintOfRow(entity, row, except = null) {
  const isShown = (field) => field.name !== except && tintOf(field, row[field.name]);
  const field = entity.fields.find(isShown);
  return field ? tintOf(field, row[field.name]) : '';
}

function Link({ appId, target, id, title }) {
  if (target === 'core:users') return html`<span class="cut">${title ?? ''}</span>`;
  const address = ['record', appId, target, id];
  const stay = (event) => event.stopPropagation();
  return html`<${A} class="cut" to=${address} onClick=${stay}>${title ?? shortenId(id)}<//>`;
}

const Flag = ({ value }) =>
  value
    ? html`<span class="yes" role="img" aria-label="yes">${icon('check')}</span>`
    : html`<span class="dim">no</span>`;

/** Widths of columns in pixels. */
const WIDTHS = {
  number: 130,
  boolean: 84,
  date: 116,
  timestamp: 170,
  uuid: 96,
  json: 220,
  '[text]': 200,
};
const USUAL_WIDTH = 190;
const LONG_WIDTH = 260;
const TITLE_WIDTH = 240;
const CHOICE_WIDTH = 140;

/** Width of a column in pixels. */
export function measureColumn(field) {
  if (field.width) return field.width;
  if (field.references) return USUAL_WIDTH;
  if (/note|description|body|comment|address/.test(field.name)) return LONG_WIDTH;
  const isTitle = field.type === 'text' && /(^|_)(name|title|subject)$/.test(field.name);
  if (isTitle) return TITLE_WIDTH;
  if (field.type in WIDTHS) return WIDTHS[field.type];
  return field.enum_values?.length ? CHOICE_WIDTH : USUAL_WIDTH;
}

// --- several values of a record below its title, as a card shows them

/** Fields of a card. */
const MOST_LINES = 3;

/** @param {{appId: string, entity: any, row: any, fields: any[], titles: any}} props */
export function CardLines({ appId, entity, row, fields, titles }) {
  const ofTitle = findTitleFields(entity);
  const isShown = ({ name, system }) =>
    !system && !ofTitle.includes(name) && row[name] !== null && row[name] !== undefined;
  return html`<dl class="cardlines">
    ${fields
      .filter(isShown)
      .slice(0, MOST_LINES)
      .map((field) => {
        const value = row[field.name];
        return html`<div key=${field.name}>
          <dt>${nameField(field)}</dt>
          <dd class="cut">
            <${Value} field=${field} value=${value} title=${titles[value]} appId=${appId} />
          </dd>
        </div>`;
      })}
  </dl>`;
}

// --- values as the manifest asks for them: money, percent, addresses

/** Addresses that a link leads to; any other text is shown as it is. */
const WEB = /^https?:\/\/[^\s]+$/i;
const MAIL = /^[^\s@]+@[^\s@]+$/;

/** A number in the user's language; its title has the digits that the server sent. */
const Amount = ({ field, value }) =>
  html`<span class="mono cut" title=${String(value)}>${formatNumber(value, field)}</span>`;

/** @param {{field: any, value: any}} props */
export function Formatted({ field, value }) {
  const text = String(value).slice(0, MOST_LETTERS);
  const stay = (event) => event.stopPropagation();
  if (field.type === 'number') return html`<${Amount} field=${field} value=${value} />`;
  const isMail = field.format === 'email' && MAIL.test(value);
  const isWeb = field.format === 'url' && WEB.test(value);
  if (isMail) return html`<a class="cut" href=${`mailto:${value}`} onClick=${stay}>${text}</a>`;
  if (isWeb)
    return html`<a class="cut" href=${value} rel="noopener noreferrer" target="_blank" onClick=${stay}>
      ${text}
    </a>`;
  return html`<span class="cut">${text}</span>`;
}

// --- managed files: what a value of a record holds, in a line

const UNITS = ['bytes', 'kB', 'MB', 'GB'];

/** Whether a field holds files of the server; a `file` that declares nothing is text. */
export const isManaged = (field) => field.types !== undefined && /^\[?file\]?$/.test(field.type);

/** The files of a value: of a list, of a single file, of none. */
export const listFiles = (value) => [value ?? []].flat();

/** A size in words. @param {number} bytes */
export function formatSize(bytes) {
  let amount = Number(bytes);
  let unit = 0;
  while (amount >= 1000 && unit < UNITS.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && amount < 10 ? 1 : 0;
  return `${amount.toFixed(digits)} ${UNITS[unit]}`;
}

/** Save a file to the user's disk, by a link that is good for a minute. */
async function download(appId, file) {
  try {
    const path = url`/api/v1/apps/${appId}/files/${file.id}/link`;
    const link = await post(path, { seconds: 60 });
    const anchor = document.createElement('a');
    anchor.href = `${link.url}&download=1`;
    anchor.rel = 'noreferrer';
    anchor.click();
  } catch (error) {
    fail(error);
  }
}

/** The files of a record in one line; a click saves one. */
export function FileNames({ value, appId }) {
  return html`<span class="cut">
    ${listFiles(value).map(
      (file) => html`<button
        type="button"
        class="link file-name"
        key=${file.id}
        title=${`${file.name}, ${file.type}, ${formatSize(file.size)}`}
        onClick=${(event) => {
          event.stopPropagation();
          download(appId, file);
        }}
      >
        ${icon('audit')} ${file.name}
      </button>`,
    )}
  </span>`;
}

// --- numbers and dates, with every digit that the server sent

const DECIMAL = /^-?(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/;
const DATE = /^\d{4}-\d\d-\d\d$/;
/** Names of numbers that identify: a year has no thousands. */
const NAMING = /(^|_)(id|no|number|code|year|zip|postcode)$/;
/** Digits of a fraction that formats of every browser take. */
const MOST_DIGITS = 20;
/** Digits of a number that JavaScript holds. */
const SAFE_DIGITS = 15;
const LONG = '9007199254740993';

/** Formats by their options: making one takes longer than using it a hundred times. */
const formats = new Map();

/** @param {Intl.NumberFormatOptions} options @returns {any} */
function findFormat(options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(undefined, options));
  return formats.get(key);
}

/** Whether this browser formats a text of digits exactly, and not as the nearest number. */
const isExact =
  /** @type {any} */ (new Intl.NumberFormat('en', { useGrouping: false })).format(LONG) === LONG;

/**
 * A number with separators of thousands; no digit is lost or added.
 * @param {any} value @param {any} [field] whose `format` and `currency` are followed
 * @param {number} [most] digits of the fraction, beyond which it is rounded
 */
export function formatNumber(value, field = {}, most = Infinity) {
  const text = String(value);
  const [, whole, fraction = '', power = 0] = DECIMAL.exec(text) ?? [];
  const isTooLong = !isExact && whole?.length + fraction.length > SAFE_DIGITS;
  const isFar = Math.abs(Number(power)) > MOST_DIGITS;
  const digits = Math.min(Math.max(0, fraction.length - Number(power)), most);
  if (!whole || isTooLong || isFar || digits > MOST_DIGITS) return text;
  const written = findFormat(chooseOptions(field, digits)).format(text);
  return field.format === 'percent' ? `${written} %` : written;
}

/** @returns {Intl.NumberFormatOptions} */
function chooseOptions({ name = '', format, currency }, digits) {
  const isMoney = format === 'currency';
  const fewest = isMoney ? Math.max(2, digits) : digits;
  if (isMoney && currency) {
    const usual = findFormat({ style: 'currency', currency }).resolvedOptions();
    const most = Math.max(usual.maximumFractionDigits, digits);
    return { style: 'currency', currency, maximumFractionDigits: most };
  }
  return {
    useGrouping: isMoney || !NAMING.test(name),
    minimumFractionDigits: fewest,
    maximumFractionDigits: fewest,
  };
}

const dates = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeZone: 'UTC' });

/** A day, which is the same in every zone. @param {string} text */
export const formatDate = (text) =>
  DATE.test(text) ? dates.format(new Date(`${text}T00:00Z`)) : text;

/** Digits of the fraction of an average. */
const OF_AVERAGE = 4;
const OF_MONEY = 2;

/**
 * A figure over the values of a field; of records without one.
 * @param {string} kind `sum`, `avg`, `min`, `max`, `count` or `countDistinct`
 */
export function formatAmount(field, kind, value) {
  if (kind === 'avg' && value !== null)
    return formatNumber(value, field, field.format === 'currency' ? OF_MONEY : OF_AVERAGE);
  return writeValue(kind.startsWith('count') ? { type: 'number' } : field, value);
}

/** A value of a field as text to read; `title` is that of a linked record. */
export function writeValue(field, value, title = undefined) {
  if (value === null || value === undefined || value === '') return '–';
  if (title) return title;
  switch (field.type) {
    case 'number':
      return formatNumber(value, field);
    case 'date':
      return formatDate(value);
    case 'timestamp':
      return formatTime(value);
    case 'boolean':
      return value ? 'yes' : 'no';
    default:
      return String(value);
  }
}
