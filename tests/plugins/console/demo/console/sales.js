export default function Sales({ kit, app, round }) {
  return kit.html`<p>Sales of ${app}, round ${round}</p>`;
}
