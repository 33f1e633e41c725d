// Requests of this app, as the user who is signed in.

export const app = "sample_app";

let token = "";
let renewAt = 0;

/** Get an access token from the server's sign-in; without one, go there and come back. */
async function authorize() {
  if (token && Date.now() < renewAt) return;
  const answer = await fetch("/_auth/session");
  if (answer.status === 401) {
    location.assign(`/_auth/sign-in?return_to=${encodeURIComponent(location.pathname)}`);
    await new Promise(() => {}); // the browser leaves this page
  }
  const session = await answer.json();
  token = session.accessToken;
  renewAt = Date.now() + (session.expiresIn - 30) * 1000;
}

/** Send a request below /api/v1, and return the decoded reply. Throws an Error with the server's sentence. */
export async function call(method, path, body) {
  await authorize();
  const headers = { authorization: `Bearer ${token}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(`/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const reply = await answer.json();
  if (!answer.ok) throw new Error(reply.error);
  return reply;
}

/** The records of one entity. */
export function collection(entity) {
  const path = `/apps/${app}/collections/${entity}`;
  return {
    query: (query) => call("POST", `${path}/query`, query),
    create: (record) => call("POST", path, record),
    update: (id, changes) => call("PATCH", `${path}/${id}`, changes),
    delete: (id) => call("DELETE", `${path}/${id}`),
  };
}

/** Call a method of worker.py. */
export const rpc = (method, params = {}) => call("POST", `/apps/${app}/rpc`, { method, params });
