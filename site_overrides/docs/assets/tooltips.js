/* Titles as tooltips, which browsers show to a pointer only: here keys and fingers get them too, and Escape closes them.
   One listener for the whole page, where the theme's `content.tooltips` sets up some sixty on a pattern's page. */
{
  const LEAVING = 250 // milliseconds in which the pointer can reach the tooltip itself
  const tip = Object.assign(document.createElement("div"), { id: "dp-tooltip", className: "dp-tooltip", role: "tooltip", hidden: true })
  document.body.append(tip)
  let host = null, leaving

  const close = () => {
    clearTimeout(leaving)
    if (!host) return
    host.title = tip.textContent
    host.removeAttribute("aria-describedby")
    host = null
    tip.hidden = true
  }

  /** Below what it explains, or above where there is no room, and within the window. */
  const open = to => {
    close()
    host = to
    tip.textContent = host.title
    host.removeAttribute("title") // or the browser would show it once more
    host.setAttribute("aria-describedby", tip.id)
    tip.hidden = false
    const box = host.getClientRects()[0], gap = 6
    const below = box.bottom + gap, fits = below + tip.offsetHeight <= innerHeight
    tip.style.top = `${scrollY + (fits ? below : Math.max(gap, box.top - gap - tip.offsetHeight))}px`
    tip.style.left = `${scrollX + Math.max(gap, Math.min(box.left, document.documentElement.clientWidth - gap - tip.offsetWidth))}px`
  }

  const over = ({ target }) => {
    const to = target.closest("[title]:not([title=''])")
    clearTimeout(leaving)
    if (to) open(to)
    else if (host && host !== document.activeElement && !host.contains(target) && !tip.contains(target))
      leaving = setTimeout(close, LEAVING)
  }
  document.addEventListener("pointerover", over)
  document.addEventListener("focusin", over)
  document.addEventListener("focusout", close)
  document.addEventListener("keydown", ({ key }) => { if (key === "Escape") close() })
}
