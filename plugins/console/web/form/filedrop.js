/** A place to drop a file on, or to choose one. */
import { html, useState } from '../core/kit.js';
import { icon } from '../core/ui.js';

/**
 * @param {{label: string, accept?: string, disabled?: boolean, take: (file: File) => void,
 *   children: any}} props The children say what is expected.
 */
export function FileDrop({ label, accept, disabled = false, take, children }) {
  const [isOver, setOver] = useState(false);
  const hover = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    const [file] = event.dataTransfer.files;
    if (file && !disabled) take(file);
  };
  const choose = (event) => {
    const [file] = event.target.files;
    if (file) take(file);
    // So that the same file can be chosen again.
    event.target.value = '';
  };
  return html`<label
    class="drop ${isOver ? 'over' : ''}"
    onDragOver=${hover}
    onDragLeave=${() => setOver(false)}
    onDrop=${drop}
  >
    ${icon('upload')}
    <span>${children}</span>
    <input
      type="file"
      class="hide"
      accept=${accept}
      aria-label=${label}
      disabled=${disabled}
      onChange=${choose}
    />
  </label>`;
}
