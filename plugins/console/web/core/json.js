/**
 * JSON without rounding: a number that JavaScript cannot hold is kept as its digits.
 * JSON.parse would read 12345678901234567890 as 12345678901234567000.
 */
export class Digits {
  /** @param {string} text */
  constructor(text) { this.text = text; }
  toString() { return this.text; }
  toJSON() { return '\u0000' + this.text; }
}

const LONG = /\d{16}|\d[eE]|\.\d{15}|\d\.\d*0[\s,}\]]/;
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARKED = /"\\u0000(-?[0-9.eE+-]+)"/g;

/** @param {string} text */
export function parse(text) {
  if (!LONG.test(text)) return JSON.parse(text);
  // The server never sends U+0000 in a text, so it can mark what was a number.
  const marked = text.replace(TOKEN, (token) =>
    token[0] === '"' || String(Number(token)) === token ? token : `"\\u0000${token}"`);
  return JSON.parse(marked, (_, value) =>
    typeof value === 'string' && value[0] === '\u0000' ? new Digits(value.slice(1)) : value);
}

/** @param {any} value @param {number} [space] */
export function stringify(value, space) {
  return (JSON.stringify(value, null, space) ?? '').replace(MARKED, '$1');
}
