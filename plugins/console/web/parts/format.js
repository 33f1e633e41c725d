/** Numbers and dates as the user's language writes them, with every digit that the server sent. */
import { formatTime } from '../core/screen.js';

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
