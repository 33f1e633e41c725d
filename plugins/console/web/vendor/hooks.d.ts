type Dependencies = readonly any[];
/** A state is of any shape: it begins empty and is filled later. */
export function useState(start?: any): [any, (next: any) => void];
export function useRef(start: any): { current: any };
export function useEffect(run: () => void | (() => void), deps?: Dependencies): void;
export function useLayoutEffect(run: () => void | (() => void), deps?: Dependencies): void;
export function useMemo<T>(make: () => T, deps: Dependencies): T;
export function useCallback<T extends Function>(callback: T, deps: Dependencies): T;
export function useContext<T>(context: { Provider: any }): T;
export function useErrorBoundary(caught: (error: any) => void): [any, () => void];
