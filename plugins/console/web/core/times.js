/** Times as a reader says them. */
import { html, useEffect, useRef } from './kit.js';

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];
const SECOND = UNITS[3];

/** A time in the user's language and zone; empty without one. */
export function formatTime(text) {
  if (!text) return '';
  return new Date(text).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

/** "3 minutes ago", for a time that the title shows in full. */
export function Ago({ at: time }) {
  if (!time) return html`<span class="dim">never</span>`;
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? SECOND;
  const format = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });
  const text = format.format(Math.round(seconds / size), unit);
  return html`<time datetime=${time} title=${formatTime(time)}>${text}</time>`;
}

/**
 * Run something again and again while the page is seen; `deps` begin it again.
 * @param {number} milliseconds @param {() => void} run @param {any[]} deps
 */
export function useEvery(milliseconds, run, deps) {
  /** The function of the last drawing: the one of the first knows only its state. */
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) latest.current();
    }, milliseconds);
    return () => clearInterval(timer);
  }, deps);
}
