export default function Colour({ kit, value }) {
  return kit.html`<span class="swatch">■ ${value}</span>`;
}

export function Editor({ kit, onChange, value }) {
  const { html } = kit;
  return html`<span>${value} <button type="button" class="blue" onClick=${() => onChange('#2020c0')}>
    blue
  </button></span>`;
}
