/** Records as a chart: their groups, with a figure of each. */
import { html } from '../../core/kit.js';
import { nameField, toWords } from '../../core/store.js';
import { Loaded, useLoad } from '../../core/ui.js';
import { Chart } from '../../parts/chart.js';
import { AddressChoice, ByChoice, isTime } from '../data/layouts.js';
import { PERIODS, listFigures, loadGroups, nameFigure, readFigure, writeFigure } from './groups.js';

const KINDS = [
  ['', 'Bars'],
  ['line', 'Line'],
];

/** @param {{appId: string, entity: any, field: any, address: any, query: any, round: number}} props */
export function ChartView({ appId, entity, field, address, query, round }) {
  const { period = 'month', chart } = address;
  const figure = readFigure(address.figure);
  const isOrdered = isTime(field);
  const selection = { ...query, by: field, period, figure };
  const groups = useLoad(
    (signal) => loadGroups(appId, entity, selection, signal),
    [JSON.stringify(selection), round],
  );
  const figures = listFigures(entity).map(([aggregate, title]) => [writeFigure(aggregate), title]);
  return html`<div class="layoutbar row">
      <${ByChoice} entity=${entity} layout="chart" field=${field} />
      ${
        isOrdered &&
        html`<${AddressChoice}
          label="Each"
          name="period"
          choices=${PERIODS.map((name) => [name, toWords(name)])}
          chosen=${period}
        />`
      }
      <${AddressChoice}
        label="Figure"
        name="figure"
        choices=${figures}
        chosen=${address.figure ?? ''}
      />
      <${AddressChoice} label="Drawn as" name="chart" choices=${KINDS} chosen=${chart ?? ''} />
    </div>
    <div class="layout">
      <${Loaded} of=${groups}>
        ${(list) => html`<${Chart}
          groups=${list}
          isLine=${chart === 'line'}
          isOrdered=${isOrdered}
          names=${[nameField(field), nameFigure(entity, figure)]}
        />`}
      <//>
    </div>`;
}
