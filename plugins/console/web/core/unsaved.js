/** Changes that are not saved: a page that has some is not left without asking. */
import { useEffect } from './kit.js';
import { confirm } from './dialogs.js';
import { guards } from './router.js';

const TEXT = 'What you changed on this page is not saved.';

/** Ask before this page is left while it has unsaved changes. @param {boolean} hasChanges */
export function useUnsaved(hasChanges) {
  useEffect(() => {
    if (!hasChanges) return undefined;
    const ask = () => confirm('Leave without saving?', TEXT, { yes: 'Leave' });
    const warn = (event) => event.preventDefault();
    guards.add(ask);
    addEventListener('beforeunload', warn);
    return () => {
      guards.delete(ask);
      removeEventListener('beforeunload', warn);
    };
  }, [hasChanges]);
}
