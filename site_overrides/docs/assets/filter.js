/* The table of patterns: hides the rows that a filter leaves out, and orders the rest. */
{
  const body = document.querySelector("#dp-patterns tbody")
  const count = document.getElementById("dp-count")
  const rows = [...body.rows]

  keepInAddress(document.getElementById("dp-filter"), given => {
    const { sort, ...wanted } = Object.fromEntries(given)
    const fits = row => ([name, value]) => !value || row.dataset[name].split(" ").includes(value)
    for (const row of rows) row.hidden = !Object.entries(wanted).every(fits(row))
    // High before low and new before old; without a value, last. Rows are by title as they come.
    const key = row => sort === "kept" ? Number(row.dataset.kept || -1) : row.dataset.updated
    body.append(...(sort ? [...rows].sort((a, b) => (key(a) < key(b)) - (key(a) > key(b))) : rows))
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} patterns`
  })
}
