/* Patterns side by side: shows the columns of those chosen, four at most, or all. */
{
  const MOST = 4
  const form = document.getElementById("dp-compare")
  const table = document.getElementById("dp-side")
  const slugs = [...table.tHead.rows[0].cells].map(cell => cell.dataset.pattern)

  keepInAddress(form, given => {
    const chosen = given.getAll("pattern").slice(0, MOST)
    for (const box of form.querySelectorAll("[name=pattern]")) {
      box.checked = chosen.includes(box.value)
      box.disabled = chosen.length === MOST && !box.checked
    }
    for (const row of table.rows) {
      for (const [i, cell] of [...row.cells].entries()) {
        cell.hidden = i > 0 && chosen.length > 0 && !chosen.includes(slugs[i])
      }
    }
    const count = document.getElementById("dp-count")
    count.textContent = chosen.length ? `${chosen.length} chosen` : `all ${slugs.length - 1} shown`
  })
}
