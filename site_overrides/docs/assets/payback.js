/* When a student has paid for itself, by the formula of `distill check`: implementations/checks/break_even.py.
   tests/test_builder_decide.py holds the two against each other. */

/** Dollars for a million tokens, read and written, of an entry of prices.json: long prompts may have rates of their own. */
function ratesOf(price, promptTokens) {
  return price.long && promptTokens > price.long.above ? price.long : price
}

/** US dollars of one answer. `price` is an entry of prices.json. */
function priceOf(price, promptTokens, completionTokens) {
  const rates = ratesOf(price, promptTokens)
  return (promptTokens * rates.input + completionTokens * rates.output) / 1e6
}

/** Months until a student has paid for itself; infinite where serving it costs as much as the teacher's answers. */
function monthsOf({ each, requests, collection, training, serving }) {
  const saved = requests * each - serving
  return saved > 0 ? (collection * each + training) / saved : Infinity
}

/** The case when price, volume and serving are off by these shares, to the student's good. */
function shifted(one, { price = 0, volume = 0, serving = 0 }) {
  return { ...one, each: one.each * (1 + price), requests: one.requests * (1 + volume), serving: one.serving * (1 - serving) }
}

/** The most and the fewest months if the figures are off by up to these shares: dear answers pay a student back sooner. */
function bandOf(one, off) {
  const against = Object.fromEntries(Object.entries(off).map(([name, share]) => [name, -share]))
  return [monthsOf(shifted(one, against)), monthsOf(shifted(one, off))]
}

/** Go if even the most months are accepted, no-go if not even the fewest are, else unsure. */
function decide([most, fewest], accepted) {
  return most <= accepted ? "go" : fewest > accepted ? "no-go" : "unsure"
}

/** A number to three significant digits, as implementations/figures.py writes it. */
function significant(value) {
  if (value === 0 || !Number.isFinite(value)) return value === 0 ? "0" : "∞"
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return fixed(value, decimals)
}

/** Dollars and cents, or what there is of cents to three digits. */
function dollars(value) {
  return "$" + (value > 0 && value < 1 ? significant(value) : fixed(value, 2))
}

function fixed(value, decimals) {
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
}

/** About `count` round steps from 0 to the first that is at least `most`. */
function stepsTo(most, count) {
  const rough = most / count, ten = 10 ** Math.floor(Math.log10(rough))
  const step = ten * [1, 2, 5, 10].find(n => n * ten >= rough * (1 - 1e-9))
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => i * step)
}
