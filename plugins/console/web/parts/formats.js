/** Values as the manifest asks for them: money, percent, addresses. */
import { html } from '../core/kit.js';

const MOST_LETTERS = 300;
/** Addresses that a link leads to; any other text is shown as it is. */
const WEB = /^https?:\/\/[^\s]+$/i;
const MAIL = /^[^\s@]+@[^\s@]+$/;

/** @returns {Intl.NumberFormatOptions} */
const numberOptions = (field) =>
  field.currency ? { style: 'currency', currency: field.currency } : { minimumFractionDigits: 2 };

/** A number as money or as percent; one that JavaScript cannot hold stays as it is. */
function formatNumber(field, value) {
  if (typeof value !== 'number') return String(value);
  if (field.format === 'percent') return `${value.toLocaleString()} %`;
  return value.toLocaleString(undefined, numberOptions(field));
}

/** @param {{field: any, value: any}} props */
export function Formatted({ field, value }) {
  const text = String(value).slice(0, MOST_LETTERS);
  const stay = (event) => event.stopPropagation();
  if (field.type === 'number')
    return html`<span class="mono cut" title=${text}>${formatNumber(field, value)}</span>`;
  const isMail = field.format === 'email' && MAIL.test(value);
  const isWeb = field.format === 'url' && WEB.test(value);
  if (isMail) return html`<a class="cut" href=${`mailto:${value}`} onClick=${stay}>${text}</a>`;
  if (isWeb)
    return html`<a class="cut" href=${value} rel="noopener noreferrer" target="_blank" onClick=${stay}>
      ${text}
    </a>`;
  return html`<span class="cut">${text}</span>`;
}
