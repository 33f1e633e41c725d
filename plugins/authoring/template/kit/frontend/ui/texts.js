/** Values as people read them, in the language of the browser. */

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeZone: 'UTC' });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const AGO = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });
const UNITS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
];

/** A date such as `2031-03-01`. */
export function day(text) {
  return text ? DAY.format(new Date(`${text}T00:00:00Z`)) : '';
}

/** A moment such as `2031-03-01T10:00:00Z`. */
export function moment(text) {
  return text ? MOMENT.format(new Date(text)) : '';
}

/** How long ago a moment was. */
export function ago(text) {
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return AGO.format(-Math.floor(seconds / length), unit);
  }
  return 'just now';
}

/** An amount of a currency, without cents. */
export function money(value, currency) {
  const options = { style: 'currency', currency, maximumFractionDigits: 0 };
  return new Intl.NumberFormat(undefined, options).format(value ?? 0);
}

/** The size of a file. */
export function fileSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** `1 deal`, `3 deals`. */
export function count(number, one, many) {
  return `${number.toLocaleString()} ${number === 1 ? one : many}`;
}

/** The name of an account, as a link to `core:users` expands to it. */
export function personName(user) {
  return user ? (user.display_name ?? user.username) : '';
}
