// Reads the live events by fetch, because EventSource cannot send a token. Reconnects by itself.

import { ask, refusal } from "./access.js";
import { parse } from "./exact.js";

const SILENT_MS = 15_000; // the service sends an event at least every ten seconds
const LONGEST_MS = 5_000;

// Calls `on(event, value)` for each event and `down(error)` for each failure. stop() ends the connection.
export class Feed {
  constructor(listener) {
    this.listener = listener;
    this.retry = 1000;
    this.failures = 0;
    this.stopped = false;
    this.run();
  }

  stop() {
    this.stopped = true;
    this.abort?.abort();
    clearTimeout(this.pause);
  }

  async run() {
    while (!this.stopped) {
      try {
        await this.read();
        throw new Error("the service closed the connection");
      } catch (error) {
        if (this.stopped) return;
        this.listener.down(error);
        if (error.status === 401 || error.status === 403) return;
      }
      this.failures += 1;
      // The random factor prevents that all pages reconnect at the same moment.
      const wait = Math.min(LONGEST_MS, this.retry * this.failures) * (0.7 + 0.6 * Math.random());
      await new Promise((resume) => {
        this.pause = setTimeout(resume, wait);
      });
    }
  }

  async read() {
    this.abort = new AbortController();
    const watchdog = () => setTimeout(() => this.abort.abort(new Error("no event arrived for 15 seconds")), SILENT_MS);
    let timer = watchdog();
    try {
      const response = await ask("/live", { signal: this.abort.signal, headers: { Accept: "text/event-stream" } });
      if (!response.ok) throw await refusal(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = watchdog();
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) this.take(block);
      }
    } finally {
      clearTimeout(timer);
      this.abort.abort();
    }
  }

  take(block) {
    let name = "message";
    let data = "";
    for (const line of block.split("\n")) {
      const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === "event") name = text;
      else if (field === "data") data += text;
      else if (field === "retry") this.retry = Number(text) || this.retry;
    }
    if (!data) return;
    this.failures = 0;
    this.listener.on(name, parse(data));
  }
}
