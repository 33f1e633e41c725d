/** Names: what people type as a title becomes the name of a table or a column. */

const LONGEST = 63;

/** "Close date" -> "close_date"; empty where a text has no letter. */
export function toName(title) {
  const plain = title.normalize('NFKD').replace(/[\u0300-\u036f]/g, '');
  return plain
    .toLowerCase()
    .replace(/ß/g, 'ss')
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^[_0-9]+|_+$/g, '')
    .slice(0, LONGEST);
}

/** The title as a label, where the name alone would not show it as it was typed. */
export function toLabel(title, shown) {
  const text = title.trim();
  return text && text !== shown ? text : undefined;
}
