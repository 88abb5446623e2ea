// Changes on their way to the server. Each is kept in this browser until the server says that it is on the disk.

const KEPT = "molmo-review:";

export class Saver {
  // tell(state, words): "saved", "waiting" or "lost"; done(number, line): the server's new line of a row.
  constructor(folder, tell, done) {
    this.prefix = KEPT + folder + ":";
    this.tell = tell;
    this.done = done;
    this.waiting = new Map();
    this.busy = false;
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(this.prefix)) continue;
      this.waiting.set(Number(key.slice(this.prefix.length)), localStorage.getItem(key));
    }
    this.pump();
  }

  pending(number) {
    const text = this.waiting.get(number);
    return text === undefined ? null : JSON.parse(text);
  }

  save(number, points, accepted) {
    const text = JSON.stringify({ points, accepted });
    this.waiting.set(number, text);
    localStorage.setItem(this.prefix + number, text);
    this.tell("waiting", "saving…");
    this.pump();
  }

  async pump() {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.size) {
      const [number, text] = this.waiting.entries().next().value;
      try {
        const reply = await fetch(`api/rows/${number}`, {
          method: "PUT", headers: { "Content-Type": "application/json" }, body: text, signal: AbortSignal.timeout(10000),
        });
        const body = await reply.json();
        if (!reply.ok) throw new Error(body.error || body.detail || reply.statusText);
        if (this.waiting.get(number) === text) {
          this.waiting.delete(number);
          localStorage.removeItem(this.prefix + number);
        }
        this.done(number, body);
      } catch (error) {
        this.tell("lost", `not saved (${error.message}): kept in this browser, trying again`);
        await new Promise((go) => setTimeout(go, 1000));
      }
    }
    this.busy = false;
    this.tell("saved", "saved");
  }
}
