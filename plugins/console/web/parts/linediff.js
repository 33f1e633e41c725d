/** What changed between two texts, line by line: the longest common lines stay. */

/** Cells of the table of lengths that are filled at most; larger parts are shown as replaced. */
const MOST_CELLS = 4e6;

/** @param {string} before @param {string} after @returns {['+'|'-'|' ', string][]} */
export function compareLines(before, after) {
  const oldLines = split(before);
  const newLines = split(after);
  const shorter = Math.min(oldLines.length, newLines.length);
  let start = 0;
  while (start < shorter && oldLines[start] === newLines[start]) start += 1;
  let end = 0;
  while (end < shorter - start && oldLines.at(-1 - end) === newLines.at(-1 - end)) end += 1;
  const oldEnd = oldLines.length - end;
  const middle = compare(
    oldLines.slice(start, oldEnd),
    newLines.slice(start, newLines.length - end),
  );
  return [...mark(' ', oldLines.slice(0, start)), ...middle, ...mark(' ', oldLines.slice(oldEnd))];
}

const split = (text) => (text ? text.split('\n') : []);
const mark = (kind, lines) => lines.map((line) => [kind, line]);

/** Lines that were removed, were added, or stay. */
function compare(oldLines, newLines) {
  if (oldLines.length * newLines.length > MOST_CELLS)
    return [...mark('-', oldLines), ...mark('+', newLines)];
  const lengths = measure(oldLines, newLines);
  const changes = [];
  let i = 0;
  let j = 0;
  while (i < oldLines.length && j < newLines.length) {
    if (oldLines[i] === newLines[j]) {
      changes.push([' ', oldLines[i]]);
      i += 1;
      j += 1;
    } else if (lengths[i + 1][j] >= lengths[i][j + 1]) {
      changes.push(['-', oldLines[i]]);
      i += 1;
    } else {
      changes.push(['+', newLines[j]]);
      j += 1;
    }
  }
  return [...changes, ...mark('-', oldLines.slice(i)), ...mark('+', newLines.slice(j))];
}

/** The table of lengths of common subsequences, read from its end (Wagner and Fischer, 1974). */
function measure(oldLines, newLines) {
  const width = newLines.length + 1;
  const lengths = Array.from({ length: oldLines.length + 1 }, () => new Uint16Array(width));
  for (let i = oldLines.length - 1; i >= 0; i -= 1) {
    for (let j = newLines.length - 1; j >= 0; j -= 1) {
      const isSame = oldLines[i] === newLines[j];
      const longer = Math.max(lengths[i + 1][j], lengths[i][j + 1]);
      lengths[i][j] = isSame ? lengths[i + 1][j + 1] + 1 : longer;
    }
  }
  return lengths;
}
