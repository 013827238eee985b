/* A page opened from disk may not start a worker, and search needs one. This stands in for it: the same script in
   a hidden frame, whose messages are passed on. Over http it does nothing. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      const inner = frame.contentWindow
      const document_ = frame.contentDocument
      inner.importScripts = (...urls) =>
        Promise.all(urls.map(address => new Promise((resolve, reject) => {
          const script = document_.createElement("script")
          script.src = address
          script.onload = resolve
          script.onerror = reject
          document_.body.appendChild(script)
        })))
      inner.postMessage = data => this.receive(data)
      this.inner = inner
      const script = document_.createElement("script")
      script.src = url
      script.onload = () => {
        this.ready = true
        this.waiting.splice(0).forEach(data => this.send(data))
      }
      document_.body.appendChild(script)
    }
    postMessage(data) {
      if (this.ready) this.send(data)
      else this.waiting.push(data)
    }
    send(data) {
      this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }))
    }
    receive(data) {
      const event = new MessageEvent("message", { data })
      setTimeout(() => { this.onmessage?.(event); this.dispatchEvent(event) })
    }
    terminate() { this.inner.frameElement.remove() }
  }
}
