/** A form to call a method of the app's worker. */
import { html, useState } from '../../core/kit.js';
import { post } from '../../core/api.js';
import { formatJson, parse } from '../../core/json.js';
import { ErrorBox, Input, useForm } from '../../core/ui.js';

export function Rpc({ path }) {
  const [form, bind] = useForm({ method: '', params: '{}' });
  const [state, setState] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    const start = performance.now();
    try {
      const params = parse(form.params || '{}');
      const value = await post(`${path}/rpc`, { method: form.method, params });
      const duration = Math.round(performance.now() - start);
      setState({ text: formatJson(value), duration });
    } catch (error) {
      setState({ error });
    }
  };
  const isAnswered = state.text !== undefined;
  return html`<form class="card stack" onSubmit=${submit}>
    <h2>Call a method</h2>
    <${Input} title="Method" class="mono" required ...${bind('method')} />
    <label class="field">
      <span>Parameters</span>
      <textarea class="mono" rows="4" ...${bind('params')} />
    </label>
    <div><button class="primary" disabled=${state.busy}>Call</button></div>
    <${ErrorBox} error=${state.error} />
    ${
      isAnswered &&
      html`<div><pre tabindex="0">${state.text}</pre><small>${state.duration} ms</small></div>`
    }
  </form>`;
}
