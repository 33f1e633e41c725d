/** The types of the client; `caudex types ts` writes the ones of an app, for `Caudex<Schema>`. */

/** A record as the server shows it. */
export interface AnyRecord {
  id: string;
  created_at: string;
  updated_at: string;
  [field: string]: any;
}

/** The types of one entity: what is read, created, changed, and a filter. */
export interface EntityTypes {
  record: object;
  create: object;
  update: object;
  where: object;
}

/** Any entity, where no types were generated. */
export interface AnyEntity {
  record: AnyRecord;
  create: Record<string, any>;
  update: Record<string, any>;
  where: Record<string, any>;
}

/** The entities of an app by name. */
export type AppTypes = Record<string, EntityTypes>;
/** Apps by id. */
export type AnySchema = Record<string, Record<string, AnyEntity>>;

export interface FileReference {
  id: string;
  name: string;
  type: string;
  size: number;
}

export interface User {
  id: string;
  username: string;
  email: string | null;
  display_name: string | null;
  created_at: string;
}

export interface Job {
  id: string;
  app_id: string;
  status: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled';
  payload: any;
  result: any;
  error: string | null;
  attempts: number;
  progress: any;
  run_at: string | null;
  created_at: string;
  updated_at: string;
}

export interface LogLine {
  level: string;
  message: string;
  ts: string;
}

/** A request that failed: the server's sentence, or why there is no reply. */
export class CaudexError extends Error {
  readonly status: number;
  readonly requestId: string;
  readonly body: any;
  readonly retryAfter: number | null;
}

/** Return the tag of a record, for `ifMatch`; undefined where none came with it. */
export function tagOf(record: object): string | undefined;

export interface Abortable {
  signal?: AbortSignal;
}

export interface Shape {
  fields?: string[];
  expand?: string[];
}

export interface ListOptions extends Abortable, Shape {
  filter?: Record<string, any>;
  sort?: string;
  order?: 'asc' | 'desc';
  limit?: number;
  offset?: number;
  after?: string;
}

export interface Query<Where> {
  where?: Where;
  search?: string;
  fields?: string[];
  expand?: any[];
  orderBy?: string;
  order?: 'asc' | 'desc';
  limit?: number;
  offset?: number;
  after?: string;
  total?: boolean;
  etag?: boolean;
  groupBy?: any[];
  aggregate?: Record<string, any>;
  having?: Record<string, any>;
  timezone?: string;
}

export interface ImportReport {
  rows: number;
  valid: number;
  created: number;
  updated: number;
  errors: { row: number; field: string | null; value: any; error: string }[];
  [member: string]: any;
}

/** A change of a record, as a feed reports it. */
export interface FeedChange<Record = AnyRecord> {
  type: 'enter' | 'change' | 'leave';
  position: string;
  entity: string;
  id: string;
  record?: Record;
  at: string;
  actor: string | null;
  request: string | null;
  subscription?: string;
  truncated?: string[];
}

/** Everything up to now came, or changes are missing: read the list again. */
export interface FeedNotice {
  type: 'ready' | 'resync';
  position: string;
  reason?: string;
}

/** The reply of a live query. */
export interface FeedPage<Record = AnyRecord> {
  type: 'page';
  position: string;
  data: Record[];
  total?: number;
}

export interface Subscription<Where = { [field: string]: any }> {
  where?: Where;
  fields?: string[];
}

export interface Collection<T extends EntityTypes = AnyEntity> {
  list(options?: ListOptions): Promise<T['record'][]>;
  pages(options?: ListOptions): AsyncGenerator<T['record'][], void, undefined>;
  query(
    query?: Query<T['where']>,
    options?: Abortable,
  ): Promise<{ data: T['record'][]; total?: number }>;
  feed(
    options?: Abortable & Subscription<T['where']> & { since?: string },
  ): AsyncGenerator<FeedChange<T['record']> | FeedNotice, void, undefined>;
  live(
    query?: Query<T['where']>,
    options?: Abortable,
  ): AsyncGenerator<FeedPage<T['record']> | FeedChange<T['record']> | FeedNotice, void, undefined>;
  get(id: string, options?: Abortable & Shape): Promise<T['record']>;
  create(values: T['create']): Promise<T['record']>;
  update(id: string, values: T['update'], options?: { ifMatch?: string }): Promise<T['record']>;
  delete(id: string, options?: { ifMatch?: string }): Promise<void>;
  bulk(rows: T['create'][]): Promise<T['record'][]>;
  upsert(
    rows: T['create'][],
    options: { on: string; then?: 'update' | 'ignore' | 'fail' },
  ): Promise<{ result: 'created' | 'updated' | 'ignored'; record: T['record'] }[]>;
  import(
    body: string | Blob,
    options?: Abortable & {
      format?: 'csv' | 'ndjson';
      on?: string;
      mode?: 'all' | 'valid';
      dryRun?: boolean;
      create?: 'ids';
      raw?: boolean;
      preview?: number;
      charset?: string;
      delimiter?: string;
      decimal?: '.' | ',';
      dates?: 'iso' | 'dmy' | 'mdy';
      null?: string;
    },
  ): Promise<ImportReport>;
  export(
    options?: Abortable & {
      format?: 'csv' | 'ndjson';
      query?: Query<T['where']>;
      raw?: boolean;
    },
  ): Promise<Response>;
}

export interface Jobs {
  enqueue(
    payload: any,
    options?: {
      run_at?: string;
      max_attempts?: number;
      timeout_s?: number;
      priority?: number;
      key?: string;
    },
  ): Promise<string>;
  get(id: string, options?: Abortable): Promise<Job>;
  list(options?: { status?: string; limit?: number; before?: string }): Promise<Job[]>;
  cancel(id: string): Promise<void>;
  wait(id: string, options?: Abortable & { onProgress?: (progress: any) => void }): Promise<any>;
}

export interface Files {
  upload(
    content: Blob,
    options?: Abortable & {
      name?: string;
      onProgress?: (sent: number, size: number) => void;
    },
  ): Promise<FileReference>;
  download(id: string, options?: Abortable): Promise<Blob>;
  thumbnail(id: string, options: Abortable & { width: number; height: number }): Promise<Blob>;
  link(id: string, seconds?: number): Promise<string>;
}

export interface App<
  Entities extends { [Name in keyof Entities]: EntityTypes } = Record<string, AnyEntity>,
> {
  readonly id: string;
  readonly jobs: Jobs;
  readonly files: Files;
  collection<Name extends keyof Entities & string>(entity: Name): Collection<Entities[Name]>;
  batch(operations: Record<string, any>[], options?: { dryRun?: boolean }): Promise<any[]>;
  rpc(method: string, params?: Record<string, any>, options?: Abortable): Promise<any>;
  permissions(): Promise<{ roles: string[]; permissions: string[] }>;
  feed(
    subscriptions: Record<string, Subscription & { entity: keyof Entities & string }>,
    options?: Abortable & { since?: string },
  ): AsyncGenerator<FeedChange | FeedNotice, void, undefined>;
  logs(options?: Abortable & { tail?: number }): AsyncGenerator<LogLine, void, undefined>;
}

export interface CaudexOptions {
  url?: string;
  key?: string;
  signIn?: 'host' | 'password';
  storage?: { get: () => string; set: (refreshToken: string) => void };
  fetch?: typeof fetch;
}

export interface RequestOptions extends Abortable {
  body?: any;
  query?: Record<string, any>;
  headers?: Record<string, string>;
  idempotent?: boolean;
  readsOnly?: boolean;
  anonymous?: boolean;
}

export class Caudex<Schema = AnySchema> {
  constructor(options?: CaudexOptions);
  app<Id extends keyof Schema & string>(
    id: Id,
  ): App<Schema[Id] extends { [Name in keyof Schema[Id]]: EntityTypes } ? Schema[Id] : never>;
  me(): Promise<User | null>;
  signIn(credentials?: { username: string; password: string; code?: string }): Promise<User>;
  signOut(): Promise<void>;
  apps(): Promise<any[]>;
  request(method: string, path: string, options?: RequestOptions): Promise<any>;
}
