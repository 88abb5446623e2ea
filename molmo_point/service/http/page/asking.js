// One query: its replies into its entry, asked again where the connection breaks or the opened image is no longer held.

import { able, serverIs } from "/page/model.js";
import { ask, modelInfo, openView, serverBack, Gone } from "/page/server.js";
import { say } from "/page/status.js";

const MOST_TRIES = 3; // a query whose answer breaks off this often is given up

// Open the image once for several queries; null where that failed: then each query brings the image along, and its own error says
// what is wrong.
export async function viewOf(blob, signal) {
  try {
    return await openView(blob, signal);
  } catch (error) {
    if (error.name === "AbortError" || error.status === 401) throw error;
    return null;
  }
}

export async function askOne(signal, mine, what, query, index, view, blob) {
  const entry = mine.entry(what, query, index);
  if (what !== "ask" && able().kinds.length)
    modelInfo(query).then((info) => info.note && entry.say(info.note, "warn")).catch(() => null);
  for (let tries = 1; ; tries++) {
    try {
      for await (const reply of ask(what, query, { view: view.handle, blob, signal })) {
        if (reply.point) entry.point(reply.point);
        else if (reply.type === "piece") entry.piece(reply.text ?? "");
        else if (reply.pointing) entry.finish(reply.pointing);
        else if (reply.type === "text") entry.text(reply.text ?? "", reply.finish_reason);
      }
      if (!entry.result) throw new Gone();
      return;
    } catch (error) {
      if (signal.aborted || error.status === 401) throw error;
      if (entry.result && error instanceof Gone) return; // the answer is whole, only the end of its stream is missing
      const lostView = view.handle && error.kind === "view_gone";
      if (!lostView && !(error instanceof Gone)) return entry.refuse(error);
      if (tries === MOST_TRIES) return entry.refuse(new Error(`The connection broke off during this answer, ${MOST_TRIES} times.`));
      if (lostView) {
        view.handle = null; // the server needed its room; the image is sent again
        entry.reset();
        continue;
      }
    }
    // The server is gone, and the opened view with it. What was answered stays; this query waits.
    view.handle = null;
    entry.reset();
    entry.say("The server does not answer; trying again …", "error");
    serverIs("gone", "no server");
    say("The server does not answer; trying again … Esc stops.", "error");
    mine.show();
    await serverBack(signal);
    serverIs("ready");
    entry.reset();
    say("Looking …");
  }
}
