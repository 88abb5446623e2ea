// Changes on their way to the server. Each is kept in this browser until the server says that it is on the disk.

const KEPT = "molmo-review:";

export class Saver {
  // tell(state, words): "saved", "waiting" or "lost"; done(line): the server's new line of a row.
  constructor(folder, tell, done) {
    this.prefix = KEPT + folder + ":";
    this.tell = tell;
    this.done = done;
    this.waiting = new Map();
    this.busy = false;
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(this.prefix)) continue;
      this.waiting.set(key.slice(this.prefix.length), localStorage.getItem(key));
    }
    this.pump();
  }

  pending(id) {
    const text = this.waiting.get(id);
    return text === undefined ? null : JSON.parse(text);
  }

  save(id, points, accepted) {
    const text = JSON.stringify({ points, accepted });
    this.waiting.set(id, text);
    localStorage.setItem(this.prefix + id, text);
    this.tell("waiting", "saving…");
    this.pump();
  }

  forget(id) {
    this.waiting.delete(id);
    localStorage.removeItem(this.prefix + id);
  }

  async pump() {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.size) {
      const [id, text] = this.waiting.entries().next().value;
      try {
        const reply = await fetch(`api/rows/${id}`, {
          method: "PUT", headers: { "Content-Type": "application/json" }, body: text, signal: AbortSignal.timeout(10000),
        });
        const body = await reply.json();
        if (reply.status === 404) {
          // The run was made again without this row.
          this.forget(id);
          continue;
        }
        if (!reply.ok) throw new Error(body.error || body.detail || reply.statusText);
        if (this.waiting.get(id) === text) this.forget(id);
        this.done(body);
      } catch (error) {
        this.tell("lost", `not saved (${error.message}): kept in this browser, trying again`);
        await new Promise((go) => setTimeout(go, 1000));
      }
    }
    this.busy = false;
    this.tell("saved", "saved");
  }
}
