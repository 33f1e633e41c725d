/** A table of records: filter, order, columns, inline edit, figures, actions on many. */
import { html, useEffect, useMemo, useState } from '../../core/kit.js';
import { openDialog } from '../../core/dialogs.js';
import { stringify } from '../../core/json.js';
import { A, setQuery } from '../../core/router.js';
import { Lazy } from '../../core/screen.js';
import { apps, describe, findApp, may, toWords } from '../../core/store.js';
import { Empty, ErrorBox, Loaded, useLoad } from '../../core/ui.js';
import { useReloadAfterUndo } from '../../parts/undo.js';
import { openBuilder } from '../builder/open.js';
import { Grid } from '../grid/grid.js';
import { HeadMenu, useColumns } from './columns.js';
import { Filter, buildQuery, joinWheres, readWhere } from './filter.js';
import { TableHead } from './head.js';
import { useChanges, useLive } from './live.js';
import { Selection } from './many.js';
import { readFolded } from './groups.js';
import { Panel, useOpenRow } from './panel.js';
import { findGroup, listTerms, sortBy } from './order.js';
import { readFigures, setFigure, useFigures, useRows } from './rows.js';
import { makeSaving } from '../saving/saving.js';
import { LAYOUTS, NoField, findBy } from './views.js';

/** Statuses of a table that is gone for this user. */
const GONE = [403, 404];

export default function DataScreen({ parts: [appId, name], query }) {
  // Tables and columns that are made or renamed are in the list of apps that is loaded then.
  const description = useLoad(() => describe(appId), [appId, apps.value]);
  return html`<${Loaded} of=${description}>
    ${(app) => {
      const entity = app.entities.find((candidate) => candidate.name === name);
      if (!entity) return html`<${NoTable} app=${app} name=${name} />`;
      // Rows that were loaded before a column was renamed have its former name.
      const columns = entity.fields.map((field) => field.name).join();
      const key = `${appId}.${name}:${columns}`;
      const Form = Object.hasOwn(LAYOUTS, query.layout ?? '') ? LaidOut : Table;
      return html`<${Form} key=${key} appId=${appId} entity=${entity} address=${query} />`;
    }}
  <//>`;
}

const NoTable = ({ app, name }) => html`<${Empty} title="There is no such table" glyph="table">
  The app ${app.name} has no table “${name}”. It may have been removed.
<//>`;

/** The rows that are selected: some by their ids, or all that match. */
function useSelection(deps) {
  const [ids, setIds] = useState(new Set());
  const [everything, setEverything] = useState(false);
  const change = (changed) => {
    setIds(changed);
    setEverything(false);
  };
  const clear = () => change(new Set());
  useEffect(clear, deps);
  return { ids, change, everything, setEverything, clear };
}

/** What the address says: the records that are asked for, and the fields that are shown of each. */
function useAddress(appId, entity, address) {
  const where = useMemo(() => readWhere(address.where), [address.where]);
  const query = buildQuery(entity, where, address);
  const columns = useColumns(appId, entity, address);
  const setWhere = (tree) => setQuery({ where: tree ? stringify(tree) : null });
  const filter = (start = where) => {
    const question = { appId, entity, where: start, onChange: setWhere };
    const content = ({ close }) => html`<${Filter} ...${question} close=${close} />`;
    openDialog(content, { label: 'Filter', wide: true });
  };
  return { where, query, columns, setWhere, filter };
}

/** The records in another form than a table. */
function LaidOut({ appId, entity, address }) {
  const { where, query, columns, filter } = useAddress(appId, entity, address);
  const { fields } = columns;
  const { layout } = address;
  /** Counts how often the user asked for what is there now. */
  const [round, setRound] = useState(0);
  const reload = () => setRound((number) => number + 1);
  useReloadAfterUndo(reload);
  useChanges(appId, entity, query, reload);
  const data = { rows: [], done: false, reload };
  const field = findBy(entity, layout, address.by);
  const shown = { appId, entity, address, query, fields, field, round };
  return html`<div class="data">
    <${TableHead} ...${{ appId, entity, address, where, query, columns, data, filter }} live=${{}} />
    ${
      field
        ? html`<${Lazy} key=${layout} load=${LAYOUTS[layout].load} ...${shown} />`
        : html`<${NoField} entity=${entity} layout=${layout} name=${address.by} />`
    }
  </div>`;
}

function Table({ appId, entity, address }) {
  const { where, query, columns, setWhere, filter } = useAddress(appId, entity, address);
  const { fields } = columns;
  const group = findGroup(entity, address);
  const folded = readFolded(address.folded);
  const data = useRows(appId, entity, query, group ? { field: group, folded } : null);
  useReloadAfterUndo(data.reload);
  const live = useLive(appId, entity, query, data);
  const selection = useSelection([address.where, address.q]);
  const figures = readFigures(address.figures, fields);
  const shownFigures = useFigures(appId, entity, figures, query, data.round);

  const { open, openRow, leaveRow } = useOpenRow(appId, entity, address);
  const { saveOne, saveMany } = makeSaving(appId, entity, data);
  const isBuilder = findApp(appId)?.admin;
  const addColumn = () => openBuilder('addColumn', appId, entity.name);
  const headMenu = (field) => html`<${HeadMenu}
    appId=${appId}
    entity=${entity}
    field=${field}
    address=${address}
    columns=${columns}
    query=${query}
    quick=${data.done}
    figure=${figures[field.name]}
    add=${(condition) => setWhere(joinWheres(where, condition))}
    filter=${filter}
    setFigure=${(kind) => setFigure(figures, field.name, kind)}
  />`;
  // Rows of an app that was removed, or that the user may no longer read, are not left on the screen.
  const isGone = GONE.includes(data.error?.status);
  const hasLines = data.rows.length > 0 || data.groups?.length > 0;
  const isEmpty = !data.error && !data.loading && !hasLines;
  const isNarrowed = query.where !== undefined || Boolean(query.search);
  return html`<div class="data">
    <${TableHead}
      appId=${appId}
      entity=${entity}
      address=${address}
      where=${where}
      query=${query}
      columns=${columns}
      data=${data}
      group=${group}
      live=${live}
      filter=${filter}
    />
    ${
      data.error &&
      html`<div class="padded"><${ErrorBox} error=${data.error} retry=${data.reload} /></div>`
    }
    ${isEmpty && html`<${Nothing} appId=${appId} entity=${entity} isNarrowed=${isNarrowed} />`}
    <div class="beside">
      ${
        !isEmpty &&
        !isGone &&
        html`<${Grid}
            appId=${appId}
            entity=${entity}
            fields=${fields}
            data=${data}
            editable=${may(appId, entity.name, 'update')}
            sorting=${{
              terms: listTerms(address),
              change: (name, isAdded) => sortBy(address, name, isAdded),
            }}
            columns=${columns}
            selection=${selection}
            marks=${live.marks}
            headMenu=${headMenu}
            addColumn=${isBuilder ? addColumn : undefined}
            figures=${shownFigures}
            opened=${open}
            onOpen=${openRow}
            onSave=${saveOne}
            onChange=${saveMany}
          />`
      }
      ${
        open &&
        html`<${Panel}
          appId=${appId}
          entity=${entity}
          id=${open}
          data=${data}
          openRow=${openRow}
          close=${leaveRow}
        />`
      }
    </div>
    ${
      selection.ids.size > 0 &&
      html`<${Selection}
        appId=${appId}
        entity=${entity}
        query=${query}
        chosen=${selection.ids}
        everything=${selection.everything}
        setEverything=${selection.setEverything}
        clear=${selection.clear}
        reload=${data.reload}
      />`
    }
  </div>`;
}

function Nothing({ appId, entity, isNarrowed }) {
  const name = toWords(entity.name).toLowerCase();
  const showAll = () => setQuery({ where: null, q: null });
  if (isNarrowed)
    return html`<${Empty} title="Nothing matches" glyph="filter">
      <button onClick=${showAll}>Show everything</button>
    <//>`;
  return html`<${Empty} title=${`No ${name} yet`} glyph="table">
    ${may(appId, entity.name, 'create') && html`<${FirstSteps} appId=${appId} name=${entity.name} />`}
    ${
      findApp(appId)?.admin &&
      html`<button onClick=${() => openBuilder('addColumn', appId, entity.name)}>
        Add a column
      </button>`
    }
  <//>`;
}

const FirstSteps = ({
  appId,
  name,
}) => html`<${A} class="button" to=${['record', appId, name, 'new']}>
    Create the first record
  <//>
  <${A} class="button" to=${['import', appId, name]}>Import CSV or Excel<//>`;
