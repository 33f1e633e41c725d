/** Choices: those of a `select`, and a `select` that does something with what is chosen. */
import { html } from '../core/kit.js';

/**
 * @param {{choices: (string|[value: string, title: string])[], chosen?: string}} props A choice
 *   that is one text has it as its value and as its title.
 */
export function Options({ choices, chosen }) {
  return choices.map((choice) => {
    const [value, title] = typeof choice === 'string' ? [choice, choice] : choice;
    return html`<option key=${value} value=${value} selected=${value === chosen}>${title}</option>`;
  });
}

/**
 * A `select` that acts at once, and then shows its hint again.
 * @param {{label: string, hint: string, choices: (string|[value: string, title: string])[],
 *   act: (value: string) => void}} props
 */
export function ActingSelect({ label, hint, choices, act }) {
  const choose = (event) => {
    const { value } = event.target;
    event.target.value = '';
    if (value) act(value);
  };
  return html`<select aria-label=${label} onChange=${choose}>
    <option value="">${hint}</option>
    <${Options} choices=${choices} />
  </select>`;
}
