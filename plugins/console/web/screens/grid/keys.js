/** Keys of the table, by their names. */
import { useRef } from '../../core/kit.js';

/** Letters that are commands of the whole console, in the table as elsewhere. */
const OF_CONSOLE = ['/', '?'];

/** A key with what is held, as `Ctrl Shift End`. */
export function nameKey(event) {
  const isCommand = event.ctrlKey || event.metaKey;
  // With Alt some keyboards write other letters.
  const isAltLetter = event.altKey && event.code?.startsWith('Key');
  const key = isAltLetter ? event.code.slice(3).toLowerCase() : event.key;
  const held = [isCommand && 'Ctrl', event.altKey && 'Alt', event.shiftKey && 'Shift'];
  return [...held.filter(Boolean), key].join(' ');
}

/** Whether a key types something. Keys that begin a composed letter do, too. */
export function isLetter(event) {
  const isCommand = event.ctrlKey || event.metaKey || event.altKey;
  const isPart = event.key === 'Dead' || event.key === 'Process';
  const isOne = [...event.key].length === 1 && !OF_CONSOLE.includes(event.key);
  return !isCommand && (isOne || isPart);
}

/**
 * Whether Tab goes from cell to cell. It does once the user works in the table, until Escape; else it
 * leaves the table, which is no trap then.
 */
export function useWalking() {
  const walking = useRef(false);
  const setWalking = (isOn) => {
    walking.current = isOn;
  };
  return { walking, setWalking };
}
