/* A form whose state is kept in the page's address, so that it can be shared and survives a reload. */

/** Fill `form` from the address; then, and at every change, write it back and call `show(form's data)`. */
function keepInAddress(form, show) {
  const given = new URLSearchParams(location.search)
  for (const field of form.elements) {
    const values = given.getAll(field.name)
    if (field.type === "radio" || field.type === "checkbox") field.checked ||= values.includes(field.value)
    else if ([...field.options ?? []].some(option => option.value === values[0])) field.value = values[0]
  }
  const update = () => {
    const data = new FormData(form)
    const query = String(new URLSearchParams([...data].filter(([, value]) => value)))
    show(data)
    history.replaceState(null, "", location.pathname + (query && `?${query}`) + location.hash) // last: from disk, some refuse
  }
  form.addEventListener("change", update)
  form.addEventListener("reset", () => setTimeout(update)) // the form is reset after this event
  form.addEventListener("submit", event => event.preventDefault())
  update()
}
