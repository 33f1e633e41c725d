/** What the console uses of Preact. Its own types need a bundler's resolution of packages. */
export type Node = any;
export function h(type: any, properties: object | null, ...children: any[]): Node;
export function render(node: Node, parent: Element): void;
export function createContext<T>(value: T): { Provider: any; Consumer: any };
export const Fragment: (properties: { children?: any }) => Node;
export class Component<P = any, S = any> {
  props: P;
  state: S;
  setState(changes: Partial<S>): void;
}
