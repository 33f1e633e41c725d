/** What can follow at the cursor of a manifest, by its JSON Schema. */
import { walkJson } from '../../parts/jsonplace.js';

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
