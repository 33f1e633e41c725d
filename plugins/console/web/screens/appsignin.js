/**
 * The server's half of the sign-in of apps: the page of an app has sent the browser here. Who is
 * signed in goes back at once, with a code that only the host of the app can use.
 */
import { html, useEffect, useState } from '../core/kit.js';
import { post } from '../core/api.js';
import { route } from '../core/router.js';
import { ErrorBox, Loading } from '../core/ui.js';

export function AppSignIn() {
  const [error, setError] = useState(null);
  const { app, challenge, state } = route.value.query;
  useEffect(() => {
    post('/api/v1/frontends/sign-in', { app, challenge, state }).then(
      // The address comes from the server's configuration, never from this page's own address.
      (next) => location.replace(next.url),
      setError,
    );
  }, []);
  if (!error) return html`<main class="center"><${Loading} /></main>`;
  // Such as a password that must be changed first: the console asks for that.
  return html`<main class="center">
    <div class="stack">
      <${ErrorBox} error=${error} />
      <a href="./">Open the console</a>
    </div>
  </main>`;
}
