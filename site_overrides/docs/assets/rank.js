/* Which pattern fits which answers, by the rules of `distill check`: of_dimension and rank in
   implementations/checks/report.py. tests/test_builder_find.py holds the two against each other.
   Plain scripts, not modules: a browser loads no module into a page that was opened from disk. */

const UNKNOWN = "unknown" // an answer that nobody knows yet: where a page does not name it, it may be any other

/** What a pattern's criteria on one dimension come to, where the answer is one of `possible`:
    "for", "against" or "open"; null where the pattern's page has no such criterion. */
function ofDimension(criteria, dimension, possible) {
  const here = criteria.filter(c => c.dimension === dimension)
  if (!here.length) return null
  const values = use => new Set(here.filter(c => c.use === use).flatMap(c => c.values))
  const against = values(false), speaksFor = values(true)
  if (possible.every(value => against.has(value))) return "against"
  const suits = speaksFor.size ? possible.every(value => speaksFor.has(value)) : !possible.includes(UNKNOWN)
  return suits && !possible.some(value => against.has(value)) ? "for" : "open"
}

/** What decides a pattern's place: reasons against it, the share for it of what its page weighs, simpler first. */
function placeOf(data, fit) {
  const weighed = fit.for.length + fit.against.length + fit.open.length
  return [fit.against.length, -fit.for.length / Math.max(weighed, 1), data.steps[fit.pattern]]
}

/** Every pattern with its dimensions under "for", "against" and "open", the best first. A dimension without an
    answer may have any of its values. `data` is criteria.json, `answers` has a value by dimension. */
function rank(data, answers) {
  const fits = Object.entries(data.patterns).map(([pattern, criteria]) => {
    const fit = { pattern, for: [], against: [], open: [] }
    for (const { dimension, values } of data.dimensions) {
      const possible = answers[dimension] ? [answers[dimension]] : values
      fit[ofDimension(criteria, dimension, possible) ?? "none"]?.push(dimension)
    }
    return fit
  })
  return fits.sort((a, b) => {
    const [x, y] = [placeOf(data, a), placeOf(data, b)]
    const at = x.findIndex((n, i) => n !== y[i])
    return at >= 0 ? x[at] - y[at] : a.pattern < b.pattern ? -1 : 1
  })
}
