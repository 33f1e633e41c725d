export default function Beside({ kit, app, entity, record }) {
  return kit.html`<p>beside ${app}.${entity}: ${record.title}</p>`;
}
