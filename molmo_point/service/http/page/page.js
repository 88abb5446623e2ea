// The page: an image, some queries, points drawn on it. Speaks the same HTTP as everybody else; loads nothing from other hosts.

import { Round, clearAnswers, element, plural } from "/page/answers.js";
import { askOne, viewOf } from "/page/asking.js";
import { csv, download, png } from "/page/export.js";
import { able, learnAgain, lookAfterServer } from "/page/model.js";
import { asked, cameraOn, currentImage, show, snapshot, startCamera, stopCamera } from "/page/image.js";
import { closeView, Gone, pause, setToken } from "/page/server.js";
import { complain, say } from "/page/status.js";

const $ = (id) => document.getElementById(id);
const VERBS = { point: "Point", count: "Count", ask: "Ask" };
const LABELS = { point: "What to look for", count: "What to count", ask: "Your question" };
const EXAMPLES = { point: "the red mug, door handles", count: "boats, people", ask: "What is on the table?" };

const AFTER_FAILURE_MS = 1000; // before the camera is asked about again

let files = []; // of this visit: { file, name, round }; round holds the newest answers about it
let chosen = null; // the one that is shown, null for the camera
let round = null; // the answers that are shown
let running = null; // AbortController of the queries under way

// Images

async function add(given) {
  const images = [...given].filter((file) => file.type.startsWith("image/") || /\.(heic|avif|tiff?|jfif)$/i.test(file.name ?? ""));
  const others = [...given].length - images.length;
  if (!images.length) {
    const name = [...given][0]?.name;
    return say(name ? `${name} is not an image.` : "That was no image: drop a file, not a link.", "error");
  }
  const begin = files.length;
  files.push(...images.map((file) => ({ file, name: file.name || "image", round: null })));
  if (await choose(files[begin])) {
    const more = images.length > 1 ? `${images.length} images: choose one above, or ask about all.` : "";
    say([more, others ? `${plural(others, "other file")} left out.` : ""].filter(Boolean).join(" "));
  } else files = files.filter((one) => one !== files[begin]);
  strip();
}

// Show one of the images; false where it cannot be read: then the one before stays, and its answers with it. False, too, where
// another one was chosen meanwhile.
async function choose(one) {
  try {
    if (!(await show(one.file, one.name))) return false;
  } catch (error) {
    say(error.message, "error");
    return false;
  }
  running?.abort();
  chosen = one;
  round = one.round;
  clearAnswers();
  if (round) {
    round.shown = false;
    round.show();
  }
  say("");
  strip();
  $("query").focus();
  return true;
}

function strip() {
  const several = files.length > 1;
  $("strip").hidden = $("run-all").hidden = !several;
  $("run-all").textContent = `Ask about all ${files.length}`;
  $("strip").replaceChildren(
    ...files.map((one) => {
      const button = element("button", "", one.name);
      button.type = "button";
      button.setAttribute("aria-pressed", one === chosen);
      const counts = one.round?.results().map((result) => (result.error ? "failed" : (result.points?.length ?? "")));
      if (counts?.length) button.append(element("span", "count", counts.join(", ")));
      button.addEventListener("click", () => one !== chosen && choose(one));
      return button;
    }),
  );
}

async function useCamera() {
  try {
    if (!(await startCamera())) return;
  } catch (error) {
    return say(error.message, "error");
  }
  running?.abort();
  chosen = round = null;
  clearAnswers();
  strip();
  say("Take a photo, or ask about what the camera sees now.");
}

async function example() {
  try {
    const [image, words] = await Promise.all([fetch("/page/example.png"), fetch("/page/example.json")]);
    if (!image.ok || !words.ok) return say("The example is not there.", "error");
    await add([new File([await image.blob()], "example.png", { type: "image/png" })]);
    $("query").value = (await words.json()).query;
  } catch {
    return complain(new Gone());
  }
  run();
}

// Queries

const mode = () => document.querySelector("input[name=mode]:checked").value;

function queries() {
  const text = $("query").value.trim();
  if (mode() === "ask" || text.endsWith("?")) return text ? [text] : [];
  return [...new Set(text.split(/[,\n]/).map((part) => part.trim()).filter(Boolean))];
}

async function run() {
  const wanted = queries();
  if (!currentImage() && !cameraOn()) return say("Choose an image first.", "error");
  if (!wanted.length) {
    $("query").focus();
    return say(mode() === "ask" ? "Type a question." : "Type what to look for.", "error");
  }
  await working(async (signal) => {
    do {
      if (round?.failed && $("live").checked) await pause(signal, AFTER_FAILURE_MS);
      await askAll(signal, mode(), wanted, $("live").checked);
    } while ($("live").checked && cameraOn() && !signal.aborted);
  });
}

async function runAll() {
  const wanted = queries();
  if (!wanted.length) return say("Type what to look for.", "error");
  const what = mode();
  for (const one of [...files]) {
    if (!(await choose(one))) continue;
    if (!(await working((signal) => askAll(signal, what, wanted, false)))) return;
  }
  const results = files.flatMap((one) => one.round?.results() ?? []);
  const points = results.reduce((sum, one) => sum + (one.points?.length ?? 0), 0);
  const failed = results.filter((one) => one.error || !["found", "not_found"].includes(one.status ?? "found")).length;
  say(`${plural(points, "point")} in ${plural(files.length, "image")}${failed ? `; ${plural(failed, "answer")} failed or incomplete` : ""}.`);
}

// Run something that can be stopped; false where it was stopped or failed.
async function working(task) {
  running?.abort();
  const mine = (running = new AbortController());
  $("run").textContent = "Stop";
  try {
    await task(mine.signal);
    return !mine.signal.aborted;
  } catch (error) {
    if (!mine.signal.aborted) complain(error);
    return false;
  } finally {
    if (running === mine) {
      running = null;
      $("run").textContent = VERBS[mode()];
    }
  }
}

function stop() {
  running?.abort();
  $("live").checked = false;
  say("Stopped.");
}

async function askAll(signal, what, wanted, live) {
  const about = chosen;
  const image = await asked();
  signal.throwIfAborted();
  const began = performance.now();
  const mine = new Round(image);
  // With "keep asking" the answers before stay until the new ones are whole: no flicker.
  if (!live) {
    round = mine;
    mine.show();
    say("Looking …");
  }
  const view = { handle: null };
  try {
    if (wanted.length > 1) view.handle = await viewOf(image.blob, signal);
    // One after the other: the server has one model, and the first answer comes sooner so.
    for (const [index, query] of wanted.entries()) await askOne(signal, mine, what, query, index, view, image.blob);
  } finally {
    if (view.handle) closeView(view.handle);
  }
  round = mine;
  mine.show();
  if (about) about.round = mine;
  strip();
  say(mine.summary(((performance.now() - began) / 1000).toFixed(1)), mine.failed ? "error" : "");
}

function relabel() {
  const what = mode();
  if (!running) $("run").textContent = VERBS[what];
  $("query-label").textContent = LABELS[what];
  $("query").placeholder = able().kinds.length ? "burgers, red circle" : EXAMPLES[what];
  $("hint").hidden = what === "ask";
}

// Small things

async function copy() {
  const results = round?.results() ?? [];
  const text = JSON.stringify(results.length === 1 ? results[0] : results, null, 2);
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("The browser does not let this page copy; the answers are in the console.", "error");
    console.log(text);
  }
}

function saveTable() {
  const rounds = files.map((one) => one.round).filter(Boolean);
  if (round && !rounds.includes(round)) rounds.push(round);
  download(new Blob([csv(rounds)], { type: "text/csv" }), "points.csv");
}

async function saveImage() {
  if (round) download(await png(round), `${round.image.name.replace(/\.[^.]*$/, "")}-points.png`);
}

// Wiring

// After the key press, not within it: Chromium opens no file dialog from inside the event of the Enter key.
for (const id of ["choose", "again-choose"]) $(id).addEventListener("click", () => setTimeout(() => $("file").click()));
for (const id of ["camera", "again-camera"]) $(id).addEventListener("click", useCamera);
$("example").addEventListener("click", example);
$("file").addEventListener("change", async (event) => {
  const given = [...event.target.files];
  event.target.value = "";
  if (given.length) await add(given);
});
$("snap").addEventListener("click", async () => {
  const taken = await snapshot();
  stopCamera();
  await add([new File([taken], `camera-${files.length + 1}.jpg`, { type: "image/jpeg" })]);
});
$("live").addEventListener("change", () => ($("live").checked ? !running && run() : running && stop()));
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) stop();
  else run();
});
$("run-all").addEventListener("click", runAll);
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    run();
  }
});
for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", relabel);
$("copy").addEventListener("click", copy);
$("save-csv").addEventListener("click", saveTable);
$("save-png").addEventListener("click", saveImage);
$("clear").addEventListener("click", () => {
  running?.abort();
  clearAnswers();
  round = null;
  if (chosen) chosen.round = null;
  strip();
  say("");
  $("query").focus();
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value);
  $("token-form").hidden = true;
  learnAgain();
  run();
});
document.addEventListener("paste", (event) => {
  const given = [...(event.clipboardData?.files ?? [])];
  if (given.some((file) => file.type.startsWith("image/"))) {
    event.preventDefault();
    add(given);
  }
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  add(event.dataTransfer.files);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) stop();
});
lookAfterServer(relabel);
