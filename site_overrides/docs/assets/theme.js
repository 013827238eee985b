/* What Material for MkDocs (MIT licence) and Zensical write into each page as three inline scripts, as one file, so that
   the page's policy need allow no inline script. The partials of site_overrides/theme name the part that is due. */
({
  /** In the head: where the reader's choices are kept, and whether what is far below may be laid out later (catalogue.css).
      Not where a page opens further down, or goes there: to that place, the height of all above it counts. */
  base() {
    const root = document.documentElement
    root.className = "js js-focus-visible" // as the theme's script will have it: later it styles all anew
    const atTop = !location.hash && performance.getEntriesByType("navigation")[0]?.type === "navigate"
    root.classList.toggle("dp-later", atTop)
    addEventListener("click", ({ target }) => { if (target.closest("a[href*='#']")) root.classList.remove("dp-later") }, true)
    window.__md_scope = new URL("..", document.currentScript.src) // the site's root, from assets/
    window.__md_hash = text => [...text].reduce((hash, c) => (hash << 5) - hash + c.charCodeAt(0), 0)
    window.__md_get = (key, store = localStorage, scope = __md_scope) => JSON.parse(store.getItem(`${scope.pathname}.${key}`))
    window.__md_set = (key, value, store = localStorage, scope = __md_scope) => {
      try { store.setItem(`${scope.pathname}.${key}`, JSON.stringify(value)) } catch { /* the reader allows no storage */ }
    }
  },

  /** In the header, before anything is drawn: the colours that were chosen, or else those of the system, and the button
      for the next. Not left to the theme's script, which styles the whole page anew four times to set what it finds. */
  palette() {
    const form = document.querySelector("[data-md-component=palette]")
    const system = matchMedia("(prefers-color-scheme: light)")
    const options = [...form.elements]
    const following = option => !option.dataset.mdColorMedia.includes(":")
    const show = option => {
      const shown = following(option)
        ? options.find(({ dataset: { mdColorMedia: media } }) => media.includes(":") && matchMedia(media).matches) : option
      const scheme = document.body.dataset.mdColorScheme = shown.dataset.mdColorScheme
      document.documentElement.style.colorScheme = scheme === "slate" ? "dark" : "light" // of the window's scrollbars
      for (const each of options) each.nextElementSibling.hidden = each !== option
    }
    const chosen = __md_get("__palette")?.color?.media
    const first = options.find(option => option.dataset.mdColorMedia === chosen) ?? options[0]
    delete form.dataset.mdComponent
    first.checked = true
    show(first)
    system.addEventListener("change", () => show(options.find(option => option.checked)))
    form.addEventListener("change", ({ target }) => {
      document.body.dataset.mdColorSwitching = "" // the theme lets no colour fade meanwhile
      show(target)
      __md_set("__palette", { color: { media: target.dataset.mdColorMedia } })
      setTimeout(() => delete document.body.dataset.mdColorSwitching)
    })
    form.addEventListener("keydown", ({ key }) => {
      if (key !== "Enter") return
      const next = options[(options.findIndex(option => option.checked) + 1) % options.length]
      next.click()
      next.focus()
    })
  },

  /** After the content: the tab that the address names, names for what the theme leaves without one, and a way for keys
      into code that may scroll, until it is in view and the theme looks whether it does. */
  content() {
    const tab = document.getElementById(location.hash.slice(1))
    if (tab?.name?.startsWith("__tabbed_")) tab.checked = true
    document.querySelector(".md-search").ariaLabel = "Search"
    for (const label of document.querySelectorAll(".md-nav__container > label")) {
      const name = `Pages: ${label.previousElementSibling.textContent.trim()}`
      label.append(Object.assign(document.createElement("span"), { className: "dp-unseen", textContent: name }))
    }
    for (const code of document.querySelectorAll("pre > code")) code.tabIndex = 0
    const mend = () => {
      for (const nav of document.querySelectorAll(".md-code__nav")) nav.role = "none" // it holds a button and leads nowhere
    }
    new MutationObserver(mend).observe(document.querySelector("article"), { childList: true, subtree: true })
  },
})[document.currentScript.dataset.part]()
