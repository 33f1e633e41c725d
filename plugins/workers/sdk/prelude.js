// Loaded before a worker's own code by bun (--preload) and node (--require). It gives three globals:
//
//   serve({ method: fn }, { onStart, onJob, onError, onShutdown })
//   serve({ rpc: { method: fn }, onStart, onJob, onError, onShutdown })
//   log.info(...), log.warn(...), log.error(...), log.debug(...)
//   emit(name, data)
//
// With `describe: { rpc: { method: { text, params } }, jobs: { type: { text, params } } }` beside them the
// console makes forms: `params` is a JSON Schema of an object. Nothing checks it.
//
// A handler that throws a `serve.Unavailable`, as operations on records do while the database is away, is
// no failure: its job runs again later.
//
// Handlers are called as fn(params, caller, ctx), onJob as (payload, caller, ctx), onStart as (ctx).
// console.* goes to the app's log. Standard input is not touched before `serve` is called, so code
// that reads it by itself and writes messages to process.stdout runs as it is.
"use strict";

(() => {
  const { format } = require("node:util");

  const MAX_FRAME = 10 * 1024 * 1024;
  const MAX_TEXT = 640 * 1024;
  const HELD = 64 * 1024;
  const HELD_MS = 1;
  const SHUTDOWN_MS = 9000;
  const READS = ["find", "findOne", "query", "export", "changes"];
  const HOOKS = ["onStart", "onJob", "onError", "onShutdown"];
  const stdout = process.stdout;

  let held = "";
  let heldAt = 0;

  function flush() {
    const lines = held;
    held = "";
    if (lines) stdout.write(lines);
  }

  // Writes a message at once. With `soon` it waits for the others of this turn of the event loop, so
  // that one write takes all of them.
  function say(message, soon) {
    const line = JSON.stringify(message) + "\n";
    if (line.length > MAX_FRAME / 3 && Buffer.byteLength(line) > MAX_FRAME) {
      throw new Error(`the ${message.type} is over ${MAX_FRAME / 1048576} MB`);
    }
    if (soon && held === "") {
      heldAt = performance.now();
      process.nextTick(flush);
    }
    held += line;
    if (!soon || held.length > HELD) flush();
  }

  function writer(level, call) {
    return (...parts) => {
      say({ type: "log", level, message: format(...parts).slice(0, MAX_TEXT), call });
    };
  }

  function makeLog(call) {
    return {
      debug: writer("debug", call),
      info: writer("info", call),
      warn: writer("warn", call),
      error: writer("error", call),
    };
  }

  const log = makeLog();

  const redirected = { log: "info", info: "info", dir: "info", debug: "debug", warn: "warn" };
  for (const [name, level] of Object.entries(redirected)) console[name] = log[level];
  console.error = log.error;
  console.trace = (...parts) => log.debug(new Error(format(...parts)).stack);

  function emit(name, data) {
    say({ type: "event", name, data: data === undefined ? null : data });
  }

  const app = {
    appId: process.env.CAUDEX_APP_ID,
    runtimeUrl: process.env.CAUDEX_RUNTIME_URL,
    databaseUrl: undefined,
    credentials: {},
  };
  const operations = new Map();
  const contexts = new Map();
  const jobs = new Set();
  let running = 0;
  let allDone = () => {};
  let operationCount = 0;
  let served = false;
  let leaving = false;

  class Unavailable extends Error {
    constructor(message, unchanged = false) {
      super(message);
      this.name = "Unavailable";
      this.unchanged = unchanged;
    }
  }

  // While the database is away, a job repeats reads, writes with a key, and writes that had no effect,
  // for as long as it may run.
  async function operate(op, entity, data, call, marks) {
    const isSafe = READS.includes(op) || Boolean(marks && marks.key);
    for (let pause = 100; ; pause = Math.min(2 * pause, 5000)) {
      try {
        return await ask(op, entity, data, call, marks);
      } catch (error) {
        const mayRepeat = error instanceof Unavailable && (isSafe || error.unchanged);
        const isJob = jobs.has(call) && !contexts.get(call).cancelled;
        if (!mayRepeat || !isJob || leaving) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    }
  }

  function ask(op, entity, data, call, marks) {
    return new Promise((resolve, reject) => {
      operationCount += 1;
      const id = `op${operationCount}`;
      operations.set(id, { resolve, reject });
      try {
        say({ type: "collection_op", id, op, entity, data, call, ...marks }, true);
      } catch (error) {
        operations.delete(id);
        reject(error);
      }
    });
  }

  // What happened to records since the last time, in order; it ends where nothing more has been committed.
  // The server keeps the position of a name. Changes count as handled when the loop asks for more behind
  // them, or ends; after a failure they come again. An error with a `reason` says that changes are lost:
  // read the records, and go on with { since: error.position }.
  async function* changes(ask, name, options) {
    const request = { ...options, name };
    for (let complete = false; !complete; ) {
      const page = await ask("changes", request);
      if (page.lost) {
        const { lost, position } = page;
        throw Object.assign(new Error(`changes are lost: ${lost}`), { reason: lost, position });
      }
      delete request.since;
      request.done = page.position;
      complete = page.complete;
      yield* page.changes;
    }
    await ask("changes", { ...request, limit: 0 });
  }

  // once(key): a write with this key acts once within 24 hours, and returns the same result each time.
  // ifMatch(etag): an update or a delete is refused with the status 412 where the record has changed.
  // Options are the members of the bodies of the routes.
  function collection(entity, call, marks) {
    const read = (op, data) => operate(op, entity, data, call);
    const write = (op, data) => operate(op, entity, data, call, marks);
    return {
      once: (key) => collection(entity, call, { ...marks, key }),
      ifMatch: (etag) => collection(entity, call, { ...marks, if_match: etag }),
      insert: (data) => write("insert", data),
      update: (record, values) => {
        const data = typeof record === "object" ? record : { ...values, id: record };
        return write("update", data);
      },
      delete: (record) => {
        const data = typeof record === "object" ? record : { id: record };
        return write("delete", data);
      },
      find: (where) => read("find", where || {}),
      findOne: (where) => read("findOne", where || {}),
      query: (where, options) => read("query", { ...options, where }),
      export: (where, options) => read("export", { ...options, where }),
      importFile: (text, options) => write("import", { ...options, text }),
      changes: (name, options) => changes(read, name, options),
      insertMany: (rows) => write("insertMany", { rows }),
      upsert: (rows, on, then) => write("upsert", { rows, on, then }),
      updateWhere: (where, set, bounds) => write("updateWhere", { ...bounds, where, set }),
      deleteWhere: (where, bounds) => write("deleteWhere", { ...bounds, where }),
      batch: (operations, options) => write("batch", { ...options, operations }),
    };
  }

  // `requestId` is in the audit rows of what the handler writes; that of a job is the job's id.
  // A class rather than a literal: each call would make its members one by one.
  class Context {
    #call;
    #log = null;

    constructor(call, caller, requestId = call) {
      this.requestId = requestId;
      this.appId = app.appId;
      this.app_id = app.appId;
      this.runtimeUrl = app.runtimeUrl;
      this.runtime_url = app.runtimeUrl;
      this.databaseUrl = app.databaseUrl;
      this.database_url = app.databaseUrl;
      this.credentials = app.credentials;
      this.userId = caller ? caller.userId : undefined;
      this.username = caller ? caller.username : undefined;
      this.#call = call;
      this.emit = emit;
      this.cancelled = false;
      this.progress = (value) => say({ type: "job_progress", id: call, value });
      this.collection = (entity) => collection(entity, call);
      // One statement, over tables with the records and fields that the caller may read. What it writes is
      // done as by batch, and returned.
      this.sql = (query, values = []) => operate("sql", "", { query, values }, call);
    }

    // Its lines are found by the request or job.
    get log() {
      this.#log = this.#log || makeLog(this.#call);
      return this.#log;
    }
  }

  // Cut, because a reply that is too large is not sent.
  function messageOf(error) {
    const value = error instanceof Error ? error.message || error.name : error;
    const text = typeof value === "string" ? value : format(value);
    return text.slice(0, MAX_TEXT);
  }

  // Reads lines as one array, which takes less time than one after the other.
  function parse(lines) {
    try {
      return JSON.parse(`[${lines.replaceAll("\n", ",")}]`);
    } catch {
      const single = lines.split("\n");
      if (single.length === 1) return [];
      return single.flatMap(parse);
    }
  }

  // Takes whole lines of what arrives, without joining what is there already again and again.
  function splitMessages(onMessages) {
    let parts = [];
    return (text) => {
      const end = text.lastIndexOf("\n");
      if (end < 0) {
        parts.push(text);
        return;
      }
      parts.push(text.slice(0, end));
      const lines = parts.join("");
      parts = [text.slice(end + 1)];
      onMessages(parse(lines));
    };
  }

  // Separates methods from callbacks. Without `hooks` they are in one object, or methods are in its `rpc`.
  function sortHandlers(handlers, hooks) {
    if (hooks !== undefined) {
      return { methods: selectMethods(handlers, []), callbacks: { ...hooks } };
    }
    const hasMethodsApart = typeof handlers.rpc === "object" && handlers.rpc !== null;
    const methods = hasMethodsApart
      ? selectMethods(handlers.rpc, [])
      : selectMethods(handlers, HOOKS);
    return { methods, callbacks: handlers };
  }

  function selectMethods(handlers, excluded) {
    const methods = new Map();
    for (const [name, handler] of Object.entries(handlers)) {
      if (typeof handler === "function" && !excluded.includes(name)) methods.set(name, handler);
    }
    return methods;
  }

  // What the server shows of the handlers: `describe` names texts and JSON Schemas of parameters.
  function describeHandlers(names, { describe, onJob }) {
    const { rpc = {}, jobs: kinds = {} } = describe || {};
    const list = names.map((name) => ({ kind: "rpc", name, ...pickDescription(rpc[name]) }));
    if (typeof onJob !== "function") return list;
    const jobNames = Object.keys(kinds);
    if (jobNames.length === 0) jobNames.push("");
    return [
      ...list,
      ...jobNames.map((name) => ({ kind: "job", name, ...pickDescription(kinds[name]) })),
    ];
  }

  function pickDescription({ text = "", params } = {}) {
    return { text: String(text).slice(0, 500), params: params === undefined ? null : params };
  }

  function serve(handlers, hooks) {
    if (served) throw new Error("serve was called twice");
    served = true;
    const { methods, callbacks } = sortHandlers({ ...handlers }, hooks);

    function reportError(error, ctx) {
      const lines = ctx === undefined ? log : ctx.log;
      lines.error(error instanceof Error ? error.stack : format(error));
      if (typeof callbacks.onError !== "function") return;
      try {
        const result = callbacks.onError(error, ctx);
        const isPromise = result && typeof result.catch === "function";
        if (isPromise) result.catch((raised) => log.error(messageOf(raised)));
      } catch (raised) {
        log.error(messageOf(raised));
      }
    }

    function begin() {
      running += 1;
    }

    function end() {
      running -= 1;
      if (running === 0) allDone();
    }

    async function answer(type, message, handler, data) {
      const { id } = message;
      const caller = message.caller === undefined ? null : message.caller;
      const ctx = new Context(id, caller, message.request_id || id);
      const isJob = type === "job_result";
      contexts.set(id, ctx);
      if (isJob) jobs.add(id);
      begin();
      try {
        const result = await handler(data, caller, ctx);
        // Of a job at once: the next handler may end the process.
        say({ type, id, result: result === undefined ? null : result }, !isJob);
      } catch (error) {
        const isUnavailable = error instanceof Unavailable;
        if (isUnavailable) ctx.log.warn(error.stack);
        else reportError(error, ctx);
        say({ type, id, error: messageOf(error), unavailable: isUnavailable || undefined });
      } finally {
        contexts.delete(id);
        if (isJob) jobs.delete(id);
        end();
      }
    }

    async function start(message) {
      app.appId = message.app_id;
      app.runtimeUrl = message.runtime_url;
      app.databaseUrl = message.database_url;
      app.credentials = message.credentials || {};
      begin();
      try {
        if (typeof callbacks.onStart === "function") await callbacks.onStart(new Context(undefined, null));
      } catch (error) {
        reportError(error);
        leave(1);
        return;
      } finally {
        end();
      }
      const names = [...methods.keys()];
      say({ type: "discover", methods: names, handlers: describeHandlers(names, callbacks), batches: true });
    }

    function call(message) {
      const handler = methods.get(message.method);
      if (handler !== undefined) {
        answer("rpc_response", message, handler, message.params);
        return;
      }
      const error = `unknown method: ${message.method}`;
      say({ type: "rpc_response", id: message.id, error });
    }

    function job(message) {
      if (typeof callbacks.onJob !== "function") {
        say({ type: "job_result", id: message.id, error: "no handler takes this job" });
        return;
      }
      const handler = (payload, caller, ctx) => callbacks.onJob(payload, caller, ctx);
      answer("job_result", message, handler, message.payload);
    }

    function settle(message) {
      const waiting = operations.get(message.id);
      if (waiting === undefined) return;
      operations.delete(message.id);
      if (message.error === undefined || message.error === null) {
        waiting.resolve(message.result);
        return;
      }
      const { status, current, unavailable } = message;
      const error = unavailable
        ? new Unavailable(message.error, unavailable === "unchanged")
        : new Error(message.error);
      waiting.reject(Object.assign(error, { status, current }));
    }

    async function shutDown() {
      leaving = true;
      const timeout = new Promise((resolve) => setTimeout(resolve, SHUTDOWN_MS));
      const done = new Promise((resolve) => {
        allDone = resolve;
      });
      if (running > 0) await Promise.race([done, timeout]);
      try {
        if (typeof callbacks.onShutdown === "function") await callbacks.onShutdown();
      } catch (error) {
        reportError(error);
      }
      leave(0);
    }

    function leave(status) {
      flush();
      stdout.write("", () => process.exit(status));
    }

    function take(message) {
      if (message === null || typeof message !== "object") return;
      if (message.type === "rpc") call(message);
      else if (message.type === "job") job(message);
      else if (message.type === "discover") start(message);
      else if (message.type === "collection_op_result") settle(message);
      else if (message.type === "shutdown") shutDown();
      else if (message.type === "job_cancel" && contexts.has(message.id)) {
        contexts.get(message.id).cancelled = true;
      }
    }

    if (typeof callbacks.onError === "function") {
      process.on("uncaughtException", (error) => reportError(error));
      process.on("unhandledRejection", (error) => reportError(error));
    }
    process.stdin.setEncoding("utf8");
    process.on("exit", flush);
    // Each in a turn of its own: a handler that has ended is answered before the next one begins, which
    // may end the process, or take long.
    const waiting = [];
    let taking = false;
    async function takeAll() {
      taking = true;
      for (let index = 0; index < waiting.length; index++) {
        if (held && performance.now() - heldAt > HELD_MS) flush();
        try {
          take(waiting[index]);
        } catch (error) {
          reportError(error);
        }
        await null;
        await null;
      }
      waiting.length = 0;
      taking = false;
    }
    const takeInTurn = (messages) => {
      for (const message of messages) {
        if (message === null || message.type !== "jobs") {
          waiting.push(message);
          continue;
        }
        for (const { id, payload, caller } of message.jobs) {
          waiting.push({ type: "job", id, payload, caller });
        }
      }
      if (!taking) takeAll();
    };
    process.stdin.on("data", splitMessages(takeInTurn));
    process.stdin.on("end", () => process.exit(0));
  }

  serve.Unavailable = Unavailable;
  Object.assign(globalThis, { serve, log, emit });
})();
