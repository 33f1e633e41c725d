import type { DataProvider } from 'ra-core';

/** What this package needs of an app of `@caudex/client`. */
export interface CaudexApp {
  collection(entity: string): any;
  batch(operations: Record<string, any>[]): Promise<any>;
}

/**
 * Make a data provider of an app: `dataProvider(caudex.app('crm'))`.
 *
 * A filter is a where-tree of the server; its member `q` is searched for.
 */
export function dataProvider(app: CaudexApp): DataProvider;
