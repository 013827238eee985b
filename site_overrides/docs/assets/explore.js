/* The results: shows the records that a filter leaves, in the tables and on the plots. */
{
  const rows = [...document.querySelectorAll("tr[data-result]")]
  const point = row => document.querySelector(`.dp-result[data-result="${row.dataset.result}"]`)
  const count = document.getElementById("dp-count")

  keepInAddress(document.getElementById("dp-explore"), given => {
    const wanted = [...given].filter(([, value]) => value)
    for (const row of rows) {
      row.hidden = !wanted.every(([name, value]) => row.dataset[name] === value)
      point(row).toggleAttribute("hidden", row.hidden)
    }
    for (const machine of document.querySelectorAll(".dp-machine")) {
      machine.hidden = !machine.querySelector("tr[data-result]:not([hidden])")
    }
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} records`
  })
}
