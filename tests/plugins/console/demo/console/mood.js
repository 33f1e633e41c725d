export default function Mood({ kit, value }) {
  return kit.html`<i>mood: ${value}</i>`;
}
