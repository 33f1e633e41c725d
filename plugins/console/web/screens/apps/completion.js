/** Writing a manifest: what can follow at the cursor by its JSON Schema, and where a member is. */

const MOST = 12;

/** The part of a schema that is behind references. */
function resolve(schema, node) {
  let found = node;
  while (found?.$ref) {
    const names = found.$ref.replace(/^#\//, '').split('/');
    found = names.reduce((part, name) => part?.[name], schema);
  }
  return found ?? {};
}

/** The schema of the value at a path. */
function descend(schema, path) {
  let node = resolve(schema, schema);
  for (const part of path) {
    const choices = [node, ...(node.anyOf ?? []).map((choice) => resolve(schema, choice))];
    const next = choices
      .map((choice) => (typeof part === 'number' ? choice.items : choice.properties?.[part]))
      .find(Boolean);
    node = resolve(schema, next);
  }
  return node;
}

/**
 * The texts that can be put at a position, with what is typed of them already.
 * @returns {{typed: string, isKey: boolean, options: {text: string, hint: string}[]}}
 */
export function complete(schema, text, position) {
  const { path, isKey, quoted } = walkJson(text, position, () => null);
  const typed = quoted ?? '';
  const node = descend(schema, path);
  const members = Object.entries(node.properties ?? {});
  const options = isKey
    ? members.map(([name, shape]) => ({
        text: name,
        hint: resolve(schema, shape).description ?? '',
      }))
    : (node.enum ?? []).map((value) => ({ text: String(value), hint: '' }));
  const fitting = options.filter((option) => option.text.startsWith(typed));
  return { typed: quoted === null ? null : typed, isKey, options: fitting.slice(0, MOST) };
}

// --- places in a text of JSON, also in one that is not finished: which member is where

const SPACE = /\s/;

/**
 * Read a text up to a position, and call `visit` at the begin of each value with its path.
 * @param {string} text @param {number} end
 * @param {(path: (string|number)[], at: number) => void} visit
 * @returns {{path: (string|number)[], isKey: boolean, quoted: string|null}} where the position is:
 *   `quoted` is the begin of the text that is typed there.
 */
export function walkJson(text, end, visit) {
  /** @type {{isList: boolean, index: number, key: string|null, wantsKey: boolean}[]} */
  const stack = [];
  const pathNow = () =>
    stack.map((frame) => (frame.isList ? frame.index : frame.key)).filter((part) => part !== null);
  let at = 0;
  while (at < end) {
    const sign = text[at];
    const frame = stack.at(-1);
    if (sign === '"') {
      const close = findQuote(text, at + 1);
      const isKey = Boolean(frame && !frame.isList && frame.wantsKey);
      if (close >= end) return { path: pathNow(), isKey, quoted: text.slice(at + 1, end) };
      if (isKey) {
        frame.key = text.slice(at + 1, close);
      } else {
        visit(pathNow(), at);
      }
      at = close + 1;
      continue;
    }
    if (sign === '{' || sign === '[') {
      visit(pathNow(), at);
      stack.push({ isList: sign === '[', index: 0, key: null, wantsKey: sign === '{' });
    } else if (sign === '}' || sign === ']') {
      stack.pop();
    } else if (sign === ',' && frame) {
      if (frame.isList) frame.index += 1;
      else Object.assign(frame, { wantsKey: true, key: null });
    } else if (sign === ':' && frame) {
      frame.wantsKey = false;
    } else if (!SPACE.test(sign) && !/[\w.+-]/.test(text[at - 1] ?? ' ')) {
      visit(pathNow(), at);
    }
    at += 1;
  }
  const frame = stack.at(-1);
  return {
    path: pathNow(),
    isKey: Boolean(frame && !frame.isList && frame.wantsKey),
    quoted: null,
  };
}

function findQuote(text, from) {
  let at = from;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}

/** Where a path as `dataContract[1].fields[0].type` is; the nearest member above it that is there. */
export function findPlace(text, path) {
  const wanted = path
    .split(/[.[\]]+/)
    .filter(Boolean)
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  let found = { at: 0, length: 0 };
  walkJson(text, text.length, (parts, at) => {
    const fits =
      parts.length <= wanted.length && parts.every((part, index) => part === wanted[index]);
    if (fits && parts.length > found.length) found = { at, length: parts.length };
  });
  return found.length ? found.at : -1;
}

export const lineOf = (text, at) => text.slice(0, at).split('\n').length;
