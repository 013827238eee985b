/* Search, when the reader turns to it: neither its index nor its worker is asked for before, for together they weigh
   more than most pages. And a stand-in for the worker in a page that was opened from disk, which may not start one: the
   same script in a hidden frame, whose messages are passed on. */
{
  const fromDisk = location.protocol === "file:"
  const due = new Promise(resolve => {
    if (new URLSearchParams(location.search).has("h")) resolve() // the words that were found are marked in the page
    for (const type of ["focusin", "pointerover"]) {
      addEventListener(type, ({ target }) => target.closest?.(".md-search, [for=__search]") && resolve())
    }
  })

  window.XMLHttpRequest = class extends XMLHttpRequest {
    open(method, address, ...rest) {
      this.waits = /\/search(_index)?\.json$/.test(address) // Material's and Zensical's
      super.open(method, address, ...rest)
    }
    send(body) {
      if (this.waits) due.then(() => super.send(body))
      else super.send(body)
    }
  }

  class Framed {
    constructor(url) {
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      this.inner = frame.contentWindow
      const page = frame.contentDocument
      const load = address => new Promise((resolve, reject) => {
        page.body.appendChild(Object.assign(page.createElement("script"), { src: address, onload: resolve, onerror: reject }))
      })
      this.inner.importScripts = (...addresses) => Promise.all(addresses.map(load))
      this.inner.postMessage = data => setTimeout(() => this.onmessage({ data }))
      load(url).then(() => {
        const waited = this.waiting
        this.waiting = null
        waited.forEach(data => this.postMessage(data))
      }, error => this.onerror(error))
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }))
    }
    terminate() { this.inner.frameElement.remove() }
  }

  const Real = fromDisk ? Framed : Worker
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.url = url
    }
    /** Begins with its first message. */
    postMessage(data) {
      if (!this.real) {
        this.real = new Real(this.url)
        this.real.onerror = error => this.onerror?.(error)
        this.real.onmessage = ({ data }) => {
          const event = new MessageEvent("message", { data })
          this.onmessage?.(event)
          this.dispatchEvent(event)
        }
      }
      this.real.postMessage(data)
    }
    terminate() { this.real?.terminate() }
  }
}
