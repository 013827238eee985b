/* The calculator of break-even: what payback.js works out, in words, in tables and as a plot. */
{
  const data = JSON.parse(document.getElementById("dp-data").textContent)
  const form = document.getElementById("dp-payback")
  const prices = new Map(data.teachers.map(price => [price.teacher, price]))
  const command = document.querySelector("#dp-command code")
  const at = id => document.getElementById(id)
  const MARKS = { go: "for", "no-go": "against", unsure: "open" } // of `distill check`, as the chooser marks them

  const element = (tag, className, ...inside) => {
    const made = document.createElement(tag)
    if (className) made.className = className
    made.append(...inside)
    return made
  }
  const row = (title, ...cells) => {
    const head = element("th", "", title)
    head.scope = "row"
    return element("tr", "", head, ...cells.map(cell => element("td", "", cell)))
  }
  const count = value => Number(value.toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 6 })
  const span = months => Number.isFinite(months) ? significant(months) : "never"

  // -------------------------------------------------------------------------------------------- in words

  const answer = (months, band, accepted) => {
    const decision = decide(band, accepted)
    const ever = Number.isFinite(months)
    const said = ever ? `It pays back in month ${count(Math.max(1, Math.ceil(months)))}` : "It never pays back"
    const after = ever ? `: after ${span(months)} months (${span(band[1])} to ${span(band[0])})`
      : Number.isFinite(band[1]) ? ` (at best after ${span(band[1])} months)` : ""
    at("dp-answer").replaceChildren(element("b", "", said), `${after}; ${count(accepted)} months are accepted. `,
      element("span", `dp-mark dp-mark--${MARKS[decision]}`, decision))
  }

  /** The rates that count, where they come from, and why they may be wrong today. */
  const source = (price, rates) => {
    if (!price.source) return at("dp-price").replaceChildren("A price of your own.")
    const link = element("a", "", "its source")
    link.href = price.source
    const days = Math.floor((Date.now() - Date.parse(price.read)) / 86_400_000)
    const old = days > data.most_days ? `That was ${days} days ago: look there again. ` : ""
    const over = price.until && Date.parse(price.until) + 86_400_000 < Date.now()
      ? `It was promised until ${price.until} only. ` : ""
    at("dp-price").replaceChildren(
      `$${rates.input} and $${rates.output} per million tokens, read at `, link, ` on ${price.read}. `, old, over, price.note)
  }

  const tables = (one, off, months) => {
    const bill = one.requests * one.each
    at("dp-steps").replaceChildren(
      row("One answer of the teacher", dollars(one.each)),
      row(`Collecting ${count(one.collection)} of them`, dollars(one.collection * one.each)),
      row("Training", dollars(one.training)),
      row("The teacher’s answers, a month", dollars(bill)),
      row("Serving the student, a month", dollars(one.serving)),
      row("Months", `(${dollars(one.collection * one.each)} + ${dollars(one.training)}) / ` +
        `(${dollars(bill)} − ${dollars(one.serving)}) = ${span(months)}`))
    const titles = { price: "Cost of one request", volume: "Requests a month", serving: "Cost of serving" }
    at("dp-wrong").replaceChildren(
      ...Object.entries(titles).map(([name, title]) =>
        row(`${title} ± ${count(100 * off[name])}%`, ...bandOf(one, { [name]: off[name] }).map(span))),
      row("All of them", ...bandOf(one, off).map(span)))
  }

  // -------------------------------------------------------------------------------------------- the plot

  const WIDTH = 680, HEIGHT = 360, LEFT = 92, RIGHT = 100, TOP = 14, BOTTOM = 52

  const draw = (tag, className, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag)
    made.setAttribute("class", className)
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
    made.append(text)
    return made
  }

  /** Lines and their labels; both axes begin at zero. */
  const grid = (months, usd, x, y) => {
    const bottom = HEIGHT - BOTTOM, right = WIDTH - RIGHT
    const line = (value, d) => draw("path", `dp-chart__line${value ? "" : " dp-chart__line--strong"}`, { d })
    const label = (anchor, attributes, text) => draw("text", "dp-chart__label", { "text-anchor": anchor, ...attributes }, text)
    return [
      ...months.flatMap(at => [
        line(at, `M${x(at)} ${TOP}V${bottom}`), label("middle", { x: x(at), y: bottom + 18 }, count(at))]),
      ...usd.flatMap(at => [
        line(at, `M${LEFT} ${y(at)}H${right}`), label("end", { x: LEFT - 8, y: y(at) + 4 }, "$" + count(at))]),
      label("middle", { x: (LEFT + right) / 2, y: HEIGHT - 10 }, "Months"),
      label("middle", { transform: `translate(14 ${(TOP + bottom) / 2}) rotate(-90)` }, "US dollars spent so far"),
    ]
  }

  /** What was spent by each month, with the teacher and with the student, and where the two meet. */
  const plot = (one, off, months, band, accepted) => {
    const [worst, best] = [-1, 1].map(sign =>
      shifted(one, Object.fromEntries(Object.entries(off).map(([name, share]) => [name, sign * share]))))
    const teacher = (c, month) => month * c.requests * c.each
    const student = (c, month) => c.collection * c.each + c.training + month * c.serving
    const seen = [months, band[1], Math.min(band[0], 4 * months)].filter(Number.isFinite)
    const ticks = stepsTo(1.25 * Math.max(0, ...seen) || accepted || 1, 6) // where nothing pays back, what is accepted
    const end = ticks.at(-1)
    const dollarTicks = stepsTo(Math.max(teacher(best, end), student(best, end), student(worst, end)) || 1, 5)
    const x = month => LEFT + month / end * (WIDTH - LEFT - RIGHT)
    const y = usd => HEIGHT - BOTTOM - usd / dollarTicks.at(-1) * (HEIGHT - BOTTOM - TOP)
    const line = cost => `M${x(0)} ${y(cost(0))}L${x(end)} ${y(cost(end))}`
    const area = (low, high) => `${line(high)}L${x(end)} ${y(low(end))}L${x(0)} ${y(low(0))}Z`
    const lines = [["teacher", teacher, worst, best], ["student", student, best, worst]].flatMap(([name, cost, low, high]) => [
      draw("path", `dp-costs__band dp-costs__band--${name}`, { d: area(m => cost(low, m), m => cost(high, m)) }),
      draw("path", `dp-costs__line dp-costs__line--${name}`, { d: line(m => cost(one, m)) })])
    const labels = apart([y(teacher(one, end)), y(student(one, end))]).map((height, i) => draw("text",
      `dp-costs__name dp-costs__name--${["teacher", "student"][i]}`, { x: WIDTH - RIGHT + 8, y: height + 4 },
      ["the teacher", "the student"][i]))
    const foot = HEIGHT - BOTTOM
    const marks = band[1] > end ? [] : [
      draw("path", "dp-costs__range", { d: `M${x(band[1])} ${foot}H${x(Math.min(end, band[0]))}` }),
      ...(months > end ? [] : [
        draw("path", "dp-costs__foot", { d: `M${x(months)} ${y(teacher(one, months))}V${foot}` }),
        draw("circle", "dp-costs__point", { cx: x(months), cy: y(teacher(one, months)), r: 5 })])]
    at("dp-costs").replaceChildren(...grid(ticks, dollarTicks, x, y), ...lines, ...marks, ...labels)
    at("dp-costs").setAttribute("aria-label", `Costs so far, by month: after ${count(end)} months the teacher’s answers cost ` +
      `${dollars(teacher(one, end))}, the student ${dollars(student(one, end))}`)
  }

  /** Two heights, moved so that their labels do not lie on each other. */
  const apart = ([a, b]) => {
    const gap = 16 - Math.abs(a - b)
    return gap <= 0 ? [a, b] : a <= b ? [a - gap / 2, b + gap / 2] : [a + gap / 2, b - gap / 2]
  }

  // -------------------------------------------------------------------------------------------- the form

  /** What `distill check` is asked for the same. */
  const told = given => {
    const isOwn = given.get("teacher") === "own"
    const asked = ["monthly_requests", "gpu_hour_usd", "gpu_hours", "serving_usd", "payback_months"]
    const options = [...(isOwn ? ["price_input", "price_output"] : []), ...asked]
      .map(name => `--${name.replaceAll("_", "-")} ${given.get(name)}`)
    const teacher = isOwn ? "PLATFORM:MODEL" : given.get("teacher")
    return ["distill check sequence-level --prompts notes.jsonl --teacher", teacher, ...options].join(" ")
  }

  keepInAddress(form, given => {
    const isOwn = given.get("teacher") === "own"
    at("dp-own-price").hidden = !isOwn
    const wrong = [...form.querySelectorAll("input:invalid")].find(input => !input.closest("[hidden]"))
    if (wrong) {
      const title = wrong.closest("label").firstChild.textContent.trim()
      return at("dp-answer").replaceChildren(`Look at “${title}”: a number is missing or cannot be.`)
    }
    const number = name => Number(given.get(name))
    const price = isOwn
      ? { input: number("price_input"), output: number("price_output"), note: "" } : prices.get(given.get("teacher"))
    const one = {
      each: priceOf(price, number("prompt_tokens"), number("completion_tokens")),
      requests: number("monthly_requests"), collection: number("collection"),
      training: number("gpu_hour_usd") * number("gpu_hours"), serving: number("serving_usd"),
    }
    const off = Object.fromEntries(["price", "volume", "serving"].map(name => [name, number(`${name}_off`) / 100]))
    const months = monthsOf(one), band = bandOf(one, off), accepted = number("payback_months")
    answer(months, band, accepted)
    source(price, ratesOf(price, number("prompt_tokens")))
    tables(one, off, months)
    plot(one, off, months, band, accepted)
    command.textContent = told(given)
  })
}
