/** Uses the client against a server, as `test_js.py` says; prints what it got as JSON. */
import { Caudex, CaudexError, tagOf } from '../../../contrib/clients/js/index.js';

const { url, username, password, key } = JSON.parse(process.argv[3]);
const ada = () => new Caudex({ url, signIn: 'password' });

async function signedIn() {
  const caudex = ada();
  await caudex.signIn({ username, password });
  return caudex;
}

async function failure(promise) {
  try {
    return { value: await promise };
  } catch (error) {
    if (!(error instanceof CaudexError)) throw error;
    return {
      status: error.status,
      message: error.message,
      requestId: error.requestId,
    };
  }
}

/** A `fetch` that fails as `plan` says, call by call, and notes what was sent. */
function brokenFetch(plan) {
  const sent = [];
  async function fetchBroken(address, init) {
    sent.push({
      method: init.method,
      key: init.headers.get('idempotency-key'),
    });
    const fault = plan.shift() ?? 'none';
    if (fault === 'lost before') throw new TypeError('fetch failed');
    if (fault === 'busy') {
      const headers = {
        'retry-after': '0',
        'content-type': 'application/json',
      };
      return new Response('{"error": "too many requests"}', {
        status: 503,
        headers,
      });
    }
    const response = await fetch(address, init);
    if (fault === 'lost after') throw new TypeError('fetch failed');
    return response;
  }
  return { fetchBroken, sent };
}

const cases = {
  async records() {
    const deals = (await signedIn()).app('shop').collection('deals');
    const deal = await deals.create({ title: 'a', value: 1 });
    const changed = await deals.update(deal.id, { value: 2 }, { ifMatch: tagOf(deal) });
    const stale = await failure(deals.update(deal.id, { value: 3 }, { ifMatch: tagOf(deal) }));
    await deals.bulk([{ title: 'b' }, { title: 'c' }]);
    const upserted = await deals.upsert([{ title: 'c', value: 9 }, { title: 'd' }], {
      on: 'title',
    });
    const pages = [];
    for await (const page of deals.pages({
      limit: 3,
      sort: 'title',
      order: 'asc',
    })) {
      pages.push(page.map((record) => record.title));
    }
    const page = await deals.query({
      where: { value: { $gt: 1 } },
      orderBy: 'title',
      order: 'asc',
    });
    await deals.delete(deal.id);
    const gone = await failure(deals.get(deal.id));
    const listed = await deals.list({
      filter: { title: 'b' },
      fields: ['title'],
    });
    return {
      changed: changed.value,
      stale: stale.status,
      upserted: upserted.map((row) => row.result),
      pages,
      found: page.data.map((record) => record.title),
      total: page.total,
      gone,
      listed: listed.map((record) => Object.keys(record).sort()),
    };
  },

  async exchange() {
    const app = (await signedIn()).app('shop');
    const deals = app.collection('deals');
    const report = await deals.import('title,value\nx,1\ny,two\n', {
      mode: 'valid',
    });
    const exported = await (await deals.export({ query: { fields: ['title'] } })).text();
    const results = await app.batch([
      { op: 'create', entity: 'deals', data: { title: 'z' }, as: 'z' },
      {
        op: 'update',
        entity: 'deals',
        id: { $ref: 'z.id' },
        data: { value: 7 },
      },
    ]);
    return {
      created: report.created,
      errors: report.errors.map((error) => error.field),
      exported: exported.includes('x'),
      value: results[1].record.value,
    };
  },

  async refusals() {
    const caudex = ada();
    const unknown = await caudex.me();
    const wrong = await failure(caudex.signIn({ username, password: 'Wr0ngPassword' }));
    const refused = await failure(caudex.app('shop').collection('deals').list());
    const unreachable = new Caudex({
      url: 'http://127.0.0.1:9',
      key,
      fetch: failingFetch,
    });
    return {
      unknown,
      wrong,
      refused: refused.status,
      away: await failure(unreachable.apps()),
    };
  },

  async keys() {
    const caudex = new Caudex({ url, key });
    const me = await caudex.me();
    return {
      username: me.username,
      apps: (await caudex.apps()).map((app) => app.id),
    };
  },

  async session() {
    let refreshToken = '';
    const storage = {
      get: () => refreshToken,
      set: (text) => (refreshToken = text),
    };
    const first = new Caudex({ url, signIn: 'password', storage });
    await first.signIn({ username, password });
    const second = new Caudex({ url, signIn: 'password', storage });
    // Requests of one moment renew the token once.
    const names = await Promise.all([second.me(), second.me(), second.apps()]);
    await second.signOut();
    return {
      resumed: names[0].username,
      left: refreshToken,
      after: await ada().me(),
    };
  },

  async repeats() {
    const outcome = {};
    for (const [name, plan, call] of [
      ['read', ['lost before', 'busy'], (deals) => deals.list({ limit: 1 })],
      ['create', ['lost after'], (deals) => deals.create({ title: 'once' })],
      ['update', ['lost after'], (deals, id) => deals.update(id, { value: 5 })],
      ['refused update', ['busy'], (deals, id) => deals.update(id, { value: 6 })],
    ]) {
      const { fetchBroken, sent } = brokenFetch(plan);
      const deals = new Caudex({ url, key, fetch: fetchBroken }).app('shop').collection('deals');
      const [{ id }] = await new Caudex({ url, key }).app('shop').collection('deals').list();
      const { value, ...error } = await failure(call(deals, id));
      const keys = new Set(sent.map((request) => request.key));
      outcome[name] = {
        requests: sent.length,
        keys: keys.size,
        hasKey: !keys.has(null),
        error,
      };
    }
    const deals = new Caudex({ url, key }).app('shop').collection('deals');
    outcome.made = (await deals.list({ filter: { title: 'once' } })).length;
    return outcome;
  },

  async worker() {
    const app = (await signedIn()).app('shop');
    const greeting = await app.rpc('greet', { name: 'Ada' });
    const unknown = await failure(app.rpc('nothing'));
    const progress = [];
    const id = await app.jobs.enqueue({ count: 3 });
    const result = await app.jobs.wait(id, { onProgress: (value) => progress.push(value) });
    const failed = await failure(app.jobs.wait(await app.jobs.enqueue({ count: -1 })));
    const lines = [];
    for await (const line of app.logs({ tail: 100 })) {
      lines.push(line.message);
      if (lines.includes('counted 3')) break;
    }
    return { greeting, unknown: unknown.status, result, progress, failed: failed.message, lines };
  },

  /** Follow through a connection that is cut after each event. */
  async feeds() {
    const caudex = await signedIn();
    let opened = 0;
    async function cutFetch(address, init) {
      const response = await fetch(address, init);
      if (!String(response.headers.get('content-type')).startsWith('text/event-stream')) {
        return response;
      }
      opened += 1;
      const reader = response.body.getReader();
      let isOver = false;
      const body = new ReadableStream({
        async pull(controller) {
          if (isOver) return controller.error(new TypeError('the connection was cut'));
          const { done, value } = await reader.read();
          if (done) return controller.close();
          const text = new TextDecoder().decode(value);
          const start = text.search(/event: (enter|change|leave)/);
          if (start === -1) return controller.enqueue(value);
          isOver = true;
          await reader.cancel();
          const end = text.indexOf('\n\n', start) + 2;
          return controller.enqueue(new TextEncoder().encode(text.slice(0, end)));
        },
      });
      return new Response(body, { headers: response.headers });
    }
    const cut = new Caudex({ url, signIn: 'password', fetch: cutFetch });
    await cut.signIn({ username, password });
    const deals = caudex.app('shop').collection('deals');
    const first = await deals.create({ title: 'first', value: 1 });

    const seen = [];
    for await (const event of cut.app('shop').collection('deals').live()) {
      if (event.type === 'page') seen.push(['page', event.data.map((deal) => deal.title)]);
      if (event.type === 'ready' && seen.length === 1) {
        const second = await deals.create({ title: 'second', value: 2 });
        await deals.update(first.id, { value: 5 });
        await deals.delete(second.id);
      }
      if (['enter', 'change', 'leave'].includes(event.type)) {
        seen.push([event.type, event.record?.title ?? null]);
      }
      if (event.type === 'leave') break;
    }

    const named = [];
    let position = '';
    const subscriptions = { rich: { entity: 'deals', where: { value: { $gt: 3 } } } };
    for await (const event of caudex.app('shop').feed(subscriptions)) {
      if (event.type === 'ready') await deals.create({ title: 'rich', value: 7 });
      if (event.type !== 'enter') continue;
      named.push([event.subscription, event.record.title]);
      position = event.position;
      break;
    }
    await deals.create({ title: 'later', value: 1 });
    for await (const event of deals.feed({ since: position, fields: ['title'] })) {
      named.push([event.subscription ?? null, event.record.title]);
      break;
    }
    const refused = await failure(deals.feed({ where: { nope: 1 } }).next());
    return { seen, named, cut: opened > 2, refused: refused.status };
  },

  /** Follow streams that end because the caller may read other records. */
  async ends() {
    const notes = [];
    const first = `event: ready\nid: p1\ndata: {"position":"p1"}\n\n${END}`;
    const page = 'event: page\nid: p2\ndata: {"data":[]}\n\n';
    for (const [kind, last] of [['feed', READY], ['live', page + READY]]) {
      const fetch = replyWith([first, '', last], notes);
      const deals = new Caudex({ url, key, fetch }).app('shop').collection('deals');
      for await (const event of deals[kind]()) {
        notes.push([event.type, event.position, event.reason ?? null]);
        if (event.type === 'ready' && event.position === 'p2') break;
      }
    }
    return notes;
  },
};

/** Replies with streams in turn, and notes when each is opened. */
function replyWith(streams, notes) {
  return async () => {
    notes.push('opened');
    const body = streams.shift();
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  };
}

const END = 'event: end\ndata: {"reason":"role"}\n\n';
const READY = 'event: ready\nid: p2\ndata: {"position":"p2"}\n\n';

async function failingFetch() {
  throw new TypeError('fetch failed');
}

console.log(JSON.stringify(await cases[process.argv[2]]()));
