/** What changed between two texts, line by line: the longest common lines stay. */

/** @param {string} before @param {string} after @returns {['+'|'-'|' ', string][]} */
export function lineDiff(before, after) {
  const [a, b] = [before, after].map((text) => (text ? text.split('\n') : []));
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start += 1;
  let end = 0;
  const same = () => a[a.length - 1 - end] === b[b.length - 1 - end];
  while (end < Math.min(a.length, b.length) - start && same()) end += 1;
  const middle = between(a.slice(start, a.length - end), b.slice(start, b.length - end));
  const kept = (lines) => lines.map((line) => [' ', line]);
  return [...kept(a.slice(0, start)), ...middle, ...kept(a.slice(a.length - end))];
}

/** The table of lengths of common subsequences, read from its end (Wagner and Fischer, 1974). */
function between(a, b) {
  if (a.length * b.length > 4e6) return [...a.map((l) => ['-', l]), ...b.map((l) => ['+', l])];
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      lengths[i][j] =
        a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
  const out = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) out.push([' ', a[(j++, i++)]]);
    else if (i < a.length && (j === b.length || lengths[i + 1][j] >= lengths[i][j + 1]))
      out.push(['-', a[i++]]);
    else out.push(['+', b[j++]]);
  }
  return out;
}
