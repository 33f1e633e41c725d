/** Selecting rows. */

/**
 * @param {any[]} rows @param {{ids: Set<string>, change: (ids: Set<string>) => void}} selection
 */
export function makeChoice(rows, selection) {
  const isAllChosen = rows.length > 0 && rows.every((row) => selection.ids.has(row.id));
  /** Select the rows between two, or give them up where the first is selected. */
  const toggle = (index, start = index) => {
    const isGivenUp = selection.ids.has(rows[index].id);
    const ids = new Set(selection.ids);
    for (const row of rows.slice(Math.min(index, start), Math.max(index, start) + 1)) {
      if (isGivenUp) {
        ids.delete(row.id);
      } else {
        ids.add(row.id);
      }
    }
    selection.change(ids);
  };
  const toggleAll = () => {
    const ids = isAllChosen ? [] : rows.map((row) => row.id);
    selection.change(new Set(ids));
  };
  return { isAllChosen, toggle, toggleAll };
}
