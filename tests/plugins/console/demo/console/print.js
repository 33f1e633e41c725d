export default function Print({ kit, app, entity, ids, close }) {
  const what = ids ? `${ids.length} of ${app}.${entity}: ${ids.join()}` : 'nothing';
  return kit.html`<p>printing ${what}</p><button onClick=${() => close(true)}>Done</button>`;
}
