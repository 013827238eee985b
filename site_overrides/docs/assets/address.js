/* A form whose state is kept in the page's address, so that it can be shared and survives a reload. */

/** Fill `form` from the address; then, and at every change, write it back and call `show(form's data)`.
    What is as it was to begin with leaves the address alone. */
function keepInAddress(form, show) {
  const query = () => String(new URLSearchParams([...new FormData(form)].filter(([, value]) => value)))
  form.reset() // a browser may have kept what was chosen on an earlier visit
  const untouched = query()
  const given = new URLSearchParams(location.search)
  for (const field of form.elements) {
    const values = given.getAll(field.name)
    if (field.type === "radio" || field.type === "checkbox") field.checked ||= values.includes(field.value)
    else if (field.type === "number") field.value = values.find(value => /^-?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/i.test(value)) ?? field.value
    else if ([...field.options ?? []].some(option => option.value === values[0])) field.value = values[0]
  }
  const update = () => {
    const state = query() === untouched ? "" : `?${query()}`
    show(new FormData(form))
    history.replaceState(null, "", location.pathname + state + location.hash) // last: from disk, some refuse
  }
  form.addEventListener("input", update)
  form.addEventListener("reset", () => setTimeout(update)) // the form is reset after this event
  form.addEventListener("submit", event => event.preventDefault())
  update()
}
