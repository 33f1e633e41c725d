/**
 * JSON without rounding: a number that JavaScript cannot hold is kept as its digits.
 * JSON.parse would read 12345678901234567890 as 12345678901234567000.
 */
export class Digits {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }
  toString() {
    return this.text;
  }
  toJSON() {
    return MARK + this.text;
  }
}

/** Precedes what was a number. The server never sends U+0000 in a text. */
const MARK = '\u0000';
const LONG = /\d{16}|\d[eE]|\.\d{15}|\d\.\d*0[\s,}\]]/;
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const TOKEN_OR_SIGN = /"(?:[^"\\]|\\.)*"|[:,]/g;
const MARKED = /"\\u0000(-?[0-9.eE+-]+)"/g;

/** @param {string} text */
export function parse(text) {
  if (!LONG.test(text)) return JSON.parse(text);
  return JSON.parse(text.replace(TOKEN, markNumber), (_, value) => {
    const isMarked = typeof value === 'string' && value[0] === MARK;
    return isMarked ? new Digits(value.slice(1)) : value;
  });
}

/** A number that JavaScript would write in another way becomes a marked text. */
function markNumber(token) {
  const isText = token[0] === '"';
  if (isText || String(Number(token)) === token) return token;
  return `"\\u0000${token}"`;
}

/** JSON to read: what fits into a line stays on it. */
export function formatJson(value, pad = '', wide = 88) {
  const flat = stringify(value);
  const isPlain = value === null || typeof value !== 'object' || value instanceof Digits;
  if (isPlain) return flat;
  if (flat.length + pad.length <= wide) return addSpaces(flat);
  const inner = `${pad}  `;
  if (Array.isArray(value)) {
    const items = value.map((item) => inner + formatJson(item, inner, wide));
    return `[\n${items.join(',\n')}\n${pad}]`;
  }
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([name, member]) => {
      const text = formatJson(member, inner, wide - name.length);
      return `${inner}${JSON.stringify(name)}: ${text}`;
    });
  return `{\n${members.join(',\n')}\n${pad}}`;
}

/** `{"a":1}` as `{"a": 1}`: outside of texts a space follows each colon and comma. */
function addSpaces(flat) {
  return flat.replace(TOKEN_OR_SIGN, (token) => {
    const isSign = token === ':' || token === ',';
    return isSign ? `${token} ` : token;
  });
}

/** @param {any} value @param {number} [space] */
export function stringify(value, space) {
  const text = JSON.stringify(value, null, space) ?? '';
  return text.replace(MARKED, '$1');
}
