/**
 * What every module of the console builds on, and what a plugin's page gets: elements, state, the
 * API. One import, so that the vendored modules are named in one place.
 */
import { h, render, Fragment, Component, createContext } from '../vendor/preact.js';
import htm from '../vendor/htm.js';

export { h, render, Fragment, Component, createContext };
export {
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
  useMemo,
  useCallback,
  useContext,
  useErrorBoundary,
} from '../vendor/hooks.js';
export {
  signal,
  computed,
  effect,
  batch,
  useSignal,
  useComputed,
  useSignalEffect,
} from '../vendor/signals.js';

/** Tagged template: html`<p class="x">${text}</p>`. Text is never read as HTML. */
export const html = htm.bind(h);

/** A `ref` that moves the focus to an element when it appears, with its text selected. */
export const focusNow = (element) => {
  if (!element || document.activeElement === element) return;
  element.focus();
  element.select?.();
};

/** Version of this kit: part of the server's `kernel_api`. */
export const KIT = 1;
