/** The manifest editor: nothing is installed before its plan was seen. */
import { focusNow, html, useEffect, useRef, useState } from '../../core/kit.js';
import { get, post } from '../../core/api.js';
import { formatJson, parse } from '../../core/json.js';
import { leave } from '../../core/router.js';
import { findFirstPage, loadApps } from '../../core/store.js';
import { ErrorBox, icon, toast, useLoad } from '../../core/ui.js';
import { useUnsaved } from '../../core/unsaved.js';
import { findPlace, lineOf } from '../../parts/jsonplace.js';
import { complete } from './completion.js';
import { Plan, countTouched } from './plan.js';

const NEW = formatJson({
  appId: 'my_app',
  name: 'My app',
  dataContract: [
    { entityName: 'things', fields: [{ name: 'title', type: 'text', required: true }] },
  ],
});

/** @param {{text?: string}} props `text` is what is there before the user types. */
export function Manifest({ text: start = NEW }) {
  const [text, setText] = useState(start);
  const [state, setState] = useState({});
  const [offer, setOffer] = useState(null);
  const area = useRef(null);
  const reset = (changed) => {
    setText(changed);
    setState({});
  };
  useEffect(() => reset(start), [start]);
  useUnsaved(text !== start);
  const read = () => {
    try {
      return parse(text);
    } catch (error) {
      selectMistake(area.current, text);
      throw new Error(`This is not JSON: ${error.message}`);
    }
  };
  const plan = async () => {
    setState({ busy: true });
    try {
      const manifest = read();
      const { changes } = await post('/api/v1/apps/schema/verify', manifest);
      const rows = await countTouched(manifest.appId, changes);
      setState({ changes, manifest, rows });
    } catch (error) {
      setState({ error });
    }
  };
  const install = async () => {
    const { manifest } = state;
    setState({ ...state, busy: true });
    try {
      const { message, ignored = [] } = await post('/api/v1/apps', manifest);
      toast(message, { detail: ignored.length ? `ignored: ${ignored.join(', ')}` : '' });
      await loadApps();
      leave(findFirstPage(manifest.appId));
    } catch (error) {
      setState({ ...state, busy: false, error });
    }
  };
  const submit = (event) => {
    event.preventDefault();
    plan();
  };
  const press = (event) => {
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key === 'Enter') plan();
    if (isCommand && event.key === ' ') {
      event.preventDefault();
      propose();
    }
  };
  const propose = async () => {
    const position = area.current.selectionStart;
    const schema = await get('/api/v1/manifest.schema.json');
    setOffer({ ...complete(schema, text, position), position });
  };
  /** Put a completion where the cursor was, in quotes where none are there. */
  const take = (word) => {
    const { position, typed, isKey } = offer;
    const isQuoted = typed !== null;
    const tail = isKey && !isQuoted ? ': ' : '';
    const added = isQuoted ? word.slice(typed.length) : `"${word}"${tail}`;
    reset(text.slice(0, position) + added + text.slice(position));
    setOffer(null);
    const end = position + added.length;
    setTimeout(() => {
      area.current?.focus();
      area.current?.setSelectionRange(end, end);
    });
  };
  const isPlanned = state.changes !== undefined;
  return html`<div class="split">
    <form class="stack" onSubmit=${submit}>
      <textarea
        ref=${area}
        class="mono editor"
        rows="26"
        spellcheck=${false}
        aria-label="Manifest"
        value=${text}
        onInput=${(event) => reset(event.target.value)}
        onKeyDown=${press}
      />
      <div class="row">
        <button class=${isPlanned ? '' : 'primary'} disabled=${state.busy}>Show the plan</button>
        ${
          isPlanned &&
          html`<button type="button" class="primary" disabled=${state.busy} onClick=${install}>
            ${icon('check')}Install
          </button>`
        }
        <small>Ctrl Enter shows the plan, Ctrl Space what can follow</small>
      </div>
      <${Completion} offer=${offer} take=${take} close=${() => setOffer(null)} />
    </form>
    <aside>
      <${ErrorBox} error=${state.error} />
      <${Places} text=${text} error=${state.error} area=${area} />
      ${
        isPlanned
          ? html`<${Plan} changes=${state.changes} rows=${state.rows} />`
          : html`<${Keys} />`
      }
    </aside>
  </div>`;
}

/** The lines that an error of the server names by their paths; a click leads there. */
function Places({ text, error, area }) {
  const paths =
    (error?.message ?? '').match(/\b\w+(?:\[\d+\])?(?:\.\w+(?:\[\d+\])?)*(?=: )/g) ?? [];
  const places = [...new Set(paths)].map((path) => ({ path, at: findPlace(text, path) }));
  const known = places.filter(({ at }) => at >= 0);
  const select = (at) => {
    area.current.focus();
    area.current.setSelectionRange(at, at + 1);
  };
  return known.map(
    ({
      path,
      at,
    }) => html`<button key=${path} type="button" class="link" onClick=${() => select(at)}>
      Line ${lineOf(text, at)}: ${path}
    </button>`,
  );
}

/** Members and values that can follow at the cursor; Ctrl Space shows them. */
function Completion({ offer, take, close }) {
  if (!offer) return null;
  if (!offer.options.length) return html`<p class="dim">Nothing is known for this place.</p>`;
  const press = (event) => {
    if (event.key === 'Escape') close();
  };
  return html`<div class="completion" role="group" aria-label="Completions" onKeyDown=${press}>
    ${offer.options.map(
      ({ text, hint }, index) => html`<button
        key=${text}
        type="button"
        class="small"
        title=${hint}
        ref=${index === 0 ? focusNow : null}
        onClick=${() => take(text)}
      >
        ${text}
      </button>`,
    )}
  </div>`;
}

/** Select the letter that is no JSON: the message of the browser's own reader says where it is. */
function selectMistake(area, text) {
  try {
    JSON.parse(text);
  } catch (error) {
    const position = /position (\d+)/.exec(error.message)?.[1];
    if (position === undefined) return;
    area.focus();
    area.setSelectionRange(Number(position), Number(position) + 1);
  }
}

/** The keys of a manifest, those of enabled plugins among them, from the composed JSON Schema. */
function Keys() {
  const schema = useLoad(() => get('/api/v1/manifest.schema.json'), []);
  const members = Object.entries(schema.data?.properties ?? {});
  return html`<section class="card">
    <h2>Keys of a manifest</h2>
    <dl class="facts">
      ${members.map(
        ([name, shape]) => html`<dt key=${name}><code>${name}</code></dt>
          <dd class="dim">${shape.description ?? [shape.type].flat().join(' or ')}</dd>`,
      )}
    </dl>
    <p class="dim">
      Field types: text, number, boolean, date, timestamp, json, uuid, entity_link, file, [text],
      [number].
    </p>
  </section>`;
}
