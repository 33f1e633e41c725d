/**
 * A list that belongs to an input: drawn over everything else, whatever scrolls or is clipped
 * between them. Styles are set through the object model: the policy allows no style attribute.
 */
import { useLayoutEffect } from '../core/kit.js';

/** Pixels between the input and its list, and between the list and the edge of the window. */
const GAP = 4;
/** Height in pixels that is enough to open downwards. */
const ENOUGH = 260;

/**
 * Keep a list with the attribute `popover="manual"` beside its input as long as it is there.
 * @param {{current: any}} anchor @param {{current: any}} list
 */
export function useTopLayer(anchor, list) {
  useLayoutEffect(() => {
    const follow = () => place(list.current, anchor.current.getBoundingClientRect());
    list.current.showPopover();
    follow();
    addEventListener('scroll', follow, true);
    addEventListener('resize', follow);
    return () => {
      removeEventListener('scroll', follow, true);
      removeEventListener('resize', follow);
    };
  }, []);
}

/** Below where there is room, else above. */
function place(list, box) {
  const below = innerHeight - box.bottom - 2 * GAP;
  const above = box.top - 2 * GAP;
  const isBelow = below >= ENOUGH || below >= above;
  const left = Math.min(box.left, innerWidth - list.offsetWidth - GAP);
  const { style } = list;
  style.left = `${Math.max(GAP, left)}px`;
  style.minWidth = `${box.width}px`;
  style.top = isBelow ? `${box.bottom + GAP}px` : 'auto';
  style.bottom = isBelow ? 'auto' : `${innerHeight - box.top + GAP}px`;
  style.maxHeight = `${Math.min(ENOUGH * 1.5, isBelow ? below : above)}px`;
}
