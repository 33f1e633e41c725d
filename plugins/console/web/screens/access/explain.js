/** Explain: may this user do this, on this record, and why; also under an assumption. */
import { html, useEffect, useState } from '../../core/kit.js';
import { get, post, url, user as me } from '../../core/api.js';
import { setQuery } from '../../core/router.js';
import { CopyAs, Head, Listing } from '../../core/screen.js';
import { admin, apps, loadUsers, nameAccount } from '../../core/store.js';
import { ErrorBox, Typed, icon, useLoad } from '../../core/ui.js';
import { Choice } from '../../form/control.js';

const PATH = '/api/v1/permissions/explain';
const NONE = ['', '–'];

/** What can be chosen for an app: users, keys of permissions, and roles. */
async function loadChoices(app) {
  const [accounts, keys, roles] = await Promise.all([
    loadUsers(),
    get(url`/api/v1/apps/${app}/permissions/available`),
    get(url`/api/v1/apps/${app}/roles`),
  ]);
  return {
    people: accounts.map((account) => [account.id, nameAccount(account)]),
    keys: keys.map(({ key }) => key),
    roles: roles.map(({ name }) => name),
  };
}

function buildQuestion(app, query, firstKey) {
  const question = {
    user: query.user ?? me.value.id,
    app,
    action: query.action ?? firstKey ?? '',
  };
  if (query.record) question.record = query.record;
  if (query.roles || query.keys)
    question.assume = {
      roles: query.roles?.split(',') ?? [],
      permissions: query.keys?.split(',') ?? [],
    };
  return question;
}

export default function Explain({ query }) {
  const app = query.app ?? apps.value[0]?.id ?? 'core';
  const choices = useLoad(() => loadChoices(app), [app]);
  const { people = [], keys = [], roles = [] } = choices.data ?? {};
  const question = buildQuestion(app, query, keys[0]);
  const isReady = question.action !== '' && choices.data !== undefined;
  const [result, setResult] = useState({});
  useEffect(() => {
    if (!isReady) return;
    post(PATH, question).then(
      (answer) => setResult({ answer }),
      (error) => setResult({ error }),
    );
  }, [JSON.stringify(question), isReady]);
  const server = admin.value ? [['core', 'This server']] : [];
  const appChoices = [...apps.value.map(({ id, name }) => [id, name]), ...server];
  const put = (name) => (value) => setQuery({ [name]: value || null });
  const chooseApp = (id) =>
    setQuery({ app: id, action: null, record: null, roles: null, keys: null });
  return html`<${Head}
      title="Explain"
      sub="Whether a user may do something, by which role and permission, and what would change it."
    >
      <${CopyAs} request=${{ method: 'POST', path: PATH, body: question }} />
    <//>
    <div class="split">
      <div class="stack">
        <div class="row ask">
          <${Choice} title="User" choices=${people} chosen=${question.user} change=${put('user')} />
          <${Choice} title="App" choices=${appChoices} chosen=${app} change=${chooseApp} />
          <${Choice}
            title="Action"
            choices=${keys}
            chosen=${question.action}
            change=${put('action')}
          />
          <label class="field">
            <span>Record <i>optional</i></span>
            <${Typed} placeholder="id" value=${query.record} change=${put('record')} />
          </label>
        </div>
        <${ErrorBox} error=${choices.error ?? result.error} />
        ${result.answer && html`<${Answer} answer=${result.answer} />`}
      </div>
      <aside class="card stack">
        <h2>What if …</h2>
        <${Choice}
          title="The user also held the role"
          choices=${[NONE, ...roles]}
          chosen=${query.roles ?? ''}
          change=${put('roles')}
        />
        <${Choice}
          title="… or the permission"
          choices=${[NONE, ...keys]}
          chosen=${query.keys ?? ''}
          change=${put('keys')}
        />
        <p class="dim">Nothing is changed.</p>
      </aside>
    </div>`;
}

function Answer({ answer }) {
  const { allowed, reason, by: grants } = answer;
  return html`<section class="card answer ${allowed ? 'allowed' : 'denied'}" aria-live="polite">
    <h2>${icon(allowed ? 'check' : 'x')}${allowed ? 'Allowed' : 'Not allowed'}</h2>
    <p>${reason}.</p>
    ${grants.length > 0 && html`<${Grants} grants=${grants} />`}
  </section>`;
}

const Grants = ({
  grants,
}) => html`<${Listing} heads=${['Role', 'Permission', 'By way of', 'Plugin']} tabindex="0">
  ${grants.map(
    (grant, index) => html`<tr key=${index}>
      <td><b>${grant.role}</b></td>
      <td><code>${grant.permission}</code></td>
      <td>${grant.via.join(' → ') || html`<span class="dim">directly</span>`}</td>
      <td class="dim">${grant.plugin}</td>
    </tr>`,
  )}
<//>`;
