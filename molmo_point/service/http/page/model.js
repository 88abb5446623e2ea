// The server's state in the header, and what its model can be asked: tabs, examples and the list of what it knows.

import { modelInfo, server } from "/page/server.js";

const $ = (id) => document.getElementById(id);
const EVERYTHING = { free_questions: true, photographs: true, knows: "", kinds: [] };

let known = EVERYTHING;
let model = null; // name of the model that `known` is about

export const able = () => known;

// Ask again what the model can be asked: after a token was given.
export function learnAgain() {
  model = null;
}

export function serverIs(state, text = model ?? "ready") {
  $("server").dataset.state = state;
  $("server-text").textContent = text;
}

// Poll every few seconds without end; `changed` is called when another model is there.
export async function lookAfterServer(changed) {
  let wait = 5000;
  try {
    const now = await server();
    serverIs(now.ready ? "ready" : "wait", now.ready ? now.model : now.state);
    if (!now.ready) wait = 2000;
    else if (now.model !== model && (await learn(now.model))) changed();
  } catch {
    serverIs("gone", "no server");
    wait = 3000;
  }
  setTimeout(() => lookAfterServer(changed), wait);
}

// False where a token is needed first.
async function learn(name) {
  try {
    known = await modelInfo();
  } catch {
    return false;
  }
  model = name;
  $("mode-ask").hidden = !known.free_questions;
  $("modes").dataset.tabs = known.free_questions ? 3 : 2;
  if (!known.free_questions && $("mode-ask").querySelector("input").checked) document.querySelector("input[value=point]").click();
  $("knows").hidden = !known.kinds.length;
  $("knows-short").textContent = `${name} knows ${known.knows}`;
  $("knows-list").textContent = known.kinds.join(", ");
  $("knows-photos").hidden = known.photographs;
  return true;
}
