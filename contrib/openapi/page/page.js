// Asks for a token, fetches a document with it and hands that to Swagger UI. Tokens stay in memory:
// what is kept in storage could be read by any script of this origin, later too.
"use strict";

const byId = (id) => document.getElementById(id);
const session = { access: "", refresh: "" };

/** What an address of the API is, from this page's own: a proxy may put a prefix before it. */
const address = (path) => new URL(path, document.baseURI).href;

function say(text) {
  byId("said").textContent = text;
}

/** The value of a reply, or an error with the server's sentence. */
async function valueOf(reply) {
  const value = await reply.json().catch(() => ({}));
  if (reply.ok) return value;
  throw Object.assign(new Error(value.error || `status ${reply.status}`), { status: reply.status });
}

async function post(path, body) {
  const headers = { "content-type": "application/json" };
  return valueOf(await fetch(address(path), { method: "POST", headers, body: JSON.stringify(body) }));
}

async function get(path) {
  const headers = session.access ? { authorization: `Bearer ${session.access}` } : {};
  return valueOf(await fetch(address(path), { headers }));
}

/** Take tokens, and new ones shortly before the access token ends. */
function hold(tokens) {
  session.access = tokens.accessToken;
  session.refresh = tokens.refreshToken || session.refresh;
  if (session.refresh && tokens.expiresIn) {
    clearTimeout(session.timer);
    session.timer = setTimeout(goOn, Math.max(5, tokens.expiresIn - 60) * 1000);
  }
}

async function goOn() {
  try {
    hold(await post("auth/refresh", { refreshToken: session.refresh }));
  } catch (error) {
    signedOut(error.message);
  }
}

/** Send the token along with what is tried out, to this server only. */
function withToken(request) {
  const own = new URL(request.url, document.baseURI).origin === location.origin;
  if (own && session.access) request.headers.authorization = `Bearer ${session.access}`;
  return request;
}

function show(spec) {
  byId("reference").replaceChildren();
  SwaggerUIBundle({
    spec,
    domNode: byId("reference"),
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    validatorUrl: null,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    requestInterceptor: withToken,
  });
}

async function open(path) {
  say("");
  try {
    show(await get(path));
  } catch (error) {
    if (error.status === 401) return signedOut(session.access ? error.message : "");
    say(error.message);
  }
}

/** Offer the document of the server and that of each app. */
async function offer() {
  const option = (text, value) => Object.assign(document.createElement("option"),
    { textContent: text, value });
  const apps = await get("apps").catch(() => []);
  byId("document").replaceChildren(option("the server", "openapi.json"),
    ...apps.map((app) => option(app.name, `apps/${encodeURIComponent(app.id)}/openapi.json`)));
  byId("choice").hidden = byId("sign-out").hidden = false;
  byId("sign-in").hidden = true;
}

function signedOut(text) {
  clearTimeout(session.timer);
  Object.assign(session, { access: "", refresh: "" });
  byId("choice").hidden = byId("sign-out").hidden = true;
  byId("sign-in").hidden = false;
  byId("reference").replaceChildren();
  say(text);
}

async function signIn(event) {
  event.preventDefault();
  say("");
  const token = byId("token").value.trim();
  try {
    const username = byId("username").value, password = byId("password").value;
    hold(token ? { accessToken: token } : await post("auth/login", { username, password }));
    byId("sign-in").reset();
    const spec = await get("openapi.json");
    await offer();
    show(spec);
  } catch (error) {
    signedOut(error.message);
  }
}

async function signOut() {
  if (session.refresh) await post("auth/logout", { refreshToken: session.refresh }).catch(() => {});
  signedOut("");
}

byId("sign-in").addEventListener("submit", signIn);
byId("sign-out").addEventListener("click", signOut);
byId("document").addEventListener("change", (event) => open(event.target.value));
byId("sign-in").hidden = false;
open("openapi.json");
