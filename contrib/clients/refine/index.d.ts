import type { CrudFilter, DataProvider } from '@refinedev/core';

/** What this package needs of an app of `@caudex/client`. */
export interface CaudexApp {
  readonly id: string;
  collection(entity: string): any;
  batch(operations: Record<string, any>[]): Promise<any>;
}

/** Make a data provider of an app: `dataProvider(caudex.app('crm'))`. */
export function dataProvider(app: CaudexApp): DataProvider;

/** Return the where-tree of filters, all of which must hold. */
export function whereOf(filters?: CrudFilter[]): Record<string, any> | undefined;
