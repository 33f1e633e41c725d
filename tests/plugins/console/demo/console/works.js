export default function Works({ kit, page }) {
  const { html, useLoad, Head, Loaded, Table, get } = kit;
  const guests = useLoad(() => get('/api/v1/guests'), []);
  return html`<${Head} title=${`A module: ${page.title}`} /><${Loaded} of=${guests}>${(rows) => html`<${Table} rows=${rows} columns=${['name']} /><p>${rows.length} guests</p>`}<//>`;
}
