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
    return '\u0000' + this.text;
  }
}

const LONG = /\d{16}|\d[eE]|\.\d{15}|\d\.\d*0[\s,}\]]/;
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARKED = /"\\u0000(-?[0-9.eE+-]+)"/g;

/** @param {string} text */
export function parse(text) {
  if (!LONG.test(text)) return JSON.parse(text);
  // The server never sends U+0000 in a text, so it can mark what was a number.
  const marked = text.replace(TOKEN, (token) =>
    token[0] === '"' || String(Number(token)) === token ? token : `"\\u0000${token}"`,
  );
  return JSON.parse(marked, (_, value) =>
    typeof value === 'string' && value[0] === '\u0000' ? new Digits(value.slice(1)) : value,
  );
}

/** JSON to read: what fits into a line stays on it. */
export function pretty(value, pad = '', wide = 88) {
  const flat = stringify(value);
  if (value === null || typeof value !== 'object' || value instanceof Digits) return flat;
  if (flat.length + pad.length <= wide) return spaced(flat);
  const inner = `${pad}  `;
  const lines = Array.isArray(value)
    ? value.map((v) => inner + pretty(v, inner, wide))
    : Object.entries(value)
        .filter(([, v]) => v !== undefined)
        .map(([k, v]) => `${inner}${JSON.stringify(k)}: ${pretty(v, inner, wide - k.length)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return `${open}\n${lines.join(',\n')}\n${pad}${close}`;
}

/** `{"a":1}` as `{"a": 1}`: outside of texts a space follows each colon and comma. */
const spaced = (flat) =>
  flat.replace(/"(?:[^"\\]|\\.)*"|[:,]/g, (t) => (t === ':' || t === ',' ? `${t} ` : t));

/** @param {any} value @param {number} [space] */
export function stringify(value, space) {
  return (JSON.stringify(value, null, space) ?? '').replace(MARKED, '$1');
}
