/* The chooser: ranks patterns as the form is answered. Every text it shows is copied from the tables of the page. */
{
  const OPENED = 3 // patterns whose reasons are shown at once, as `distill check` tells three
  const KINDS = ["against", "for", "open"]
  const data = JSON.parse(document.getElementById("dp-data").textContent)
  const form = document.getElementById("dp-choose")
  const ranking = document.getElementById("dp-ranking")
  const state = document.getElementById("dp-state")
  const opened = new Map() // what the reader opened or closed by hand

  const element = (tag, className, ...inside) => {
    const made = document.createElement(tag)
    made.className = className
    made.append(...inside)
    return made
  }
  const texts = document.querySelectorAll("[data-criterion]")
  const originals = new Map([...texts].map(text => [text.dataset.criterion, text]))
  const criterion = (pattern, index) => originals.get(`${pattern}/${index}`).cloneNode(true)
  const link = pattern => originals.get(`${pattern}/0`).closest("tr").querySelector("th a").cloneNode(true)
  const title = dimension => form.elements[dimension][0].closest("fieldset").querySelector("legend").dataset.title
  const answer = (dimension, value) =>
    [...form.elements[dimension]].find(radio => radio.value === value).closest("label").textContent.trim()

  /** The reasons that bear on the answer; where the pattern's page does not name that answer, what it names instead. */
  const bearing = (pattern, dimension, value) => {
    const here = data.patterns[pattern].map((c, index) => ({ ...c, index })).filter(c => c.dimension === dimension)
    const named = here.filter(c => c.values.includes(value))
    return { named: named.length > 0, reasons: named.length ? named : here }
  }

  /** The answered questions of one kind, each with the pattern's own words. */
  const group = (fit, kind, answers) => fit[kind].filter(dimension => answers[dimension]).map(dimension => {
    const value = answers[dimension]
    const { named, reasons } = bearing(fit.pattern, dimension, value)
    const mark = element("span", `dp-mark dp-mark--${kind}`, kind)
    const said = element("p", "dp-fit__question", mark, ` ${title(dimension)}: `, element("b", "", answer(dimension, value)))
    const note = kind === "for" ? "This is none of its reasons against:"
      : value === UNKNOWN ? "Find out, for its page says:" : "Its page does not name this answer, but:"
    return element("li", "dp-fit__reason", said, ...(named ? [] : [element("p", "dp-fit__note", note)]),
      ...reasons.map(c => criterion(fit.pattern, c.index)))
  })

  const advice = [...document.querySelectorAll("[data-advice]")]
  const supposed = new Map(
    [...document.querySelectorAll("[data-presupposes]")].map(text => [text.dataset.presupposes, text]))

  /** What the answers mean whatever the pattern, above it those that mean it. */
  const advised = answers => data.advice.flatMap((given, i) => {
    if (!Object.entries(given).every(([dimension, values]) => values.includes(answers[dimension]))) return []
    const shown = advice[i].cloneNode(true)
    shown.firstElementChild.textContent = Object.keys(given)
      .map(dimension => `${title(dimension)}: ${answer(dimension, answers[dimension])}`).join("; ")
    return [shown]
  })

  /** One pattern with its place; before any question is answered there is none, and nothing to explain. */
  const article = (fit, number, place, answers) => {
    const name = element("h3", "dp-fit__title", link(fit.pattern))
    if (!Object.keys(answers).length) return element("li", "dp-fit", name)
    name.prepend(`${place}. `)
    const only = supposed.get(fit.pattern)
    const tally = KINDS.filter(kind => fit[kind].length).map(kind =>
      element("span", `dp-mark dp-mark--${kind}`, `${fit[kind].length} ${kind}`))
    const summary = element("summary", "", "Why")
    const reasons = element("ul", "dp-fit__reasons", ...KINDS.flatMap(kind => group(fit, kind, answers)))
    const why = element("details", "dp-fit__details", summary, reasons)
    why.open = opened.get(fit.pattern) ?? number <= OPENED
    summary.addEventListener("click", () => opened.set(fit.pattern, !why.open))
    return element("li", fit.against.length ? "dp-fit dp-fit--against" : "dp-fit", name,
      ...(only ? [element("p", "dp-fit__only", element("b", "", "Only if: "), only.cloneNode(true))] : []),
      element("p", "dp-fit__tally", ...tally), ...(reasons.children.length ? [why] : []))
  }

  /** Patterns that nothing tells apart share a place. */
  const places = fits => fits.reduce((places, fit, i) => {
    const same = i && `${placeOf(data, fit)}` === `${placeOf(data, fits[i - 1])}`
    return [...places, same ? places[i - 1] : i + 1]
  }, [])

  keepInAddress(form, given => {
    const answers = Object.fromEntries([...given].filter(([, value]) => value))
    const count = Object.keys(answers).length
    const fits = rank(data, answers)
    const none = fits[0].against.length > 0
    const at = places(fits)
    ranking.replaceChildren(
      element("h2", "dp-ranking__title", !count ? "Patterns" : none ? "No pattern fits" : "Patterns, the best first"),
      ...advised(answers),
      ...(none ? [element("p", "dp-fit__note", "Each has a reason against it; those with the fewest come first.")] : []),
      element("ol", "dp-fits", ...fits.map((fit, i) => article(fit, i + 1, at[i], answers))))
    if (!count) return state.replaceChildren("Nothing answered yet.")
    const why = element("a", "", "See why")
    why.href = "#dp-ranking"
    const level = fits.filter((_, i) => at[i] === 1).map(fit => link(fit.pattern).textContent)
    const told = none ? "No pattern fits" : `First: ${level.join(", ")}`
    state.replaceChildren(`${count} of ${data.dimensions.length} answered. ${told}. `, why)
  })
}
