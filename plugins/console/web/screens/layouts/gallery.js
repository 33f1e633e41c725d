/** Records as pictures: the first image that a field of files holds. */
import { html, useEffect, useRef } from '../../core/kit.js';
import { A } from '../../core/router.js';
import { Empty, ErrorBox, Loading } from '../../core/ui.js';
import { Preview } from '../../form/files.js';
import { makeTitle } from '../../parts/titles.js';
import { CardLines, listFiles } from '../../parts/values.js';
import { useRows } from '../data/rows.js';
import { ByChoice } from '../data/views.js';
import { useMarks } from './marks.js';

const SIZE = '320x240';
const isImage = (file) => file.type.startsWith('image/');

/** @param {{appId: string, entity: any, field: any, query: any, fields: any[], round: number}} props */
export function Gallery({ appId, entity, field, query, fields, round }) {
  return html`<div class="layoutbar row">
      <${ByChoice} entity=${entity} layout="gallery" field=${field} />
    </div>
    <${Pictures} ...${{ appId, entity, field, query, fields, round }} />`;
}

function Pictures({ appId, entity, field, query, fields, round }) {
  const data = useRows(appId, entity, query);
  const shown = useRef(round);
  useEffect(() => {
    if (round !== shown.current) data.reload();
    shown.current = round;
  }, [round]);
  const { rows, titles, loading, done, error } = data;
  const marks = useMarks(rows, JSON.stringify(query), true);
  const lines = fields.filter((shown) => shown.name !== field.name);
  return html`<div class="layout">
    <${ErrorBox} error=${error} retry=${data.reload} />
    ${loading && !rows.length && html`<${Loading} />`}
    ${done && !rows.length && html`<${Empty} title="Nothing matches" glyph="filter" />`}
    <ul class="gallery plain">
      ${rows.map((row) => {
        const files = listFiles(row[field.name]);
        const file = files.find(isImage) ?? files[0];
        return html`<li key=${row.id} class="card ${marks.has(row.id) ? 'changed' : ''}">
          <div class="picture">
            ${file && html`<${Preview} key=${file.id} file=${file} appId=${appId} size=${SIZE} />`}
          </div>
          <${A} class="cut" to=${['record', appId, entity.name, row.id]}>
            ${makeTitle(entity, row)}
          <//>
          <${CardLines} ...${{ appId, entity, row, titles, fields: lines }} />
        </li>`;
      })}
    </ul>
    ${!done && rows.length > 0 && html`<button disabled=${loading} onClick=${data.more}>More</button>`}
  </div>`;
}
