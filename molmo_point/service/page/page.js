// The page: a picture, some questions, points drawn on it. Speaks the same HTTP as everybody else; loads nothing from other hosts.

import { clearPoints, drawPoint, lightPoint, colour } from "/page/overlay.js";
import { ask, openView, closeView, server, Refusal, setToken } from "/page/server.js";

const $ = (id) => document.getElementById(id);
const CAMERA = { video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false };
const VERBS = { point: "Point", count: "Count", ask: "Ask" };

let picture = null; // { blob, width, height }
let camera = null; // MediaStream
let results = []; // what "Copy as JSON" copies
let running = null; // AbortController of the questions under way

// The picture

async function show(blob) {
  const url = URL.createObjectURL(blob);
  const image = $("picture");
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    image.removeAttribute("src");
    say(`That is not a picture this browser can read${blob.name ? ` (${blob.name})` : ""}.`, "error");
    return;
  }
  if (picture) URL.revokeObjectURL(picture.url);
  stopCamera();
  picture = { blob: await sendable(blob, image), url, width: image.naturalWidth, height: image.naturalHeight };
  $("size").textContent = `${picture.width} × ${picture.height}`;
  image.hidden = false;
  stage(true);
  clearAnswers();
  say("");
  $("query").focus();
}

// The server takes JPEG, PNG and WebP; whatever else the browser can show is drawn and sent as PNG.
async function sendable(blob, image) {
  if (/^image\/(jpeg|png|webp)$/.test(blob.type)) return blob;
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

function stage(full) {
  $("drop").hidden = full;
  $("figure").hidden = !full;
  $("tools").hidden = !full;
}

async function startCamera() {
  try {
    camera = await navigator.mediaDevices.getUserMedia(CAMERA);
  } catch (error) {
    const reason = navigator.mediaDevices ? error.message : "browsers allow it on https or localhost only";
    say(`The camera cannot be used: ${reason}.`, "error");
    return;
  }
  const video = $("video");
  video.srcObject = camera;
  await video.play();
  $("picture").hidden = true;
  video.hidden = false;
  for (const id of ["snap", "live-label"]) $(id).hidden = false;
  $("size").textContent = `${video.videoWidth} × ${video.videoHeight}`;
  stage(true);
  clearAnswers();
  say("Take the picture, or ask about what the camera sees now.");
}

function stopCamera() {
  if (camera) for (const track of camera.getTracks()) track.stop();
  camera = null;
  $("video").srcObject = null;
  $("video").hidden = true;
  $("live").checked = false;
  for (const id of ["snap", "live-label"]) $(id).hidden = true;
}

async function snapshot() {
  const video = $("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

// Questions

const mode = () => document.querySelector("input[name=mode]:checked").value;

function queries() {
  const text = $("query").value.trim();
  if (mode() === "ask") return text ? [text] : [];
  return [...new Set(text.split(/[,\n]/).map((part) => part.trim()).filter(Boolean))];
}

async function run() {
  const wanted = queries();
  if (!picture && !camera) return say("Choose a picture first.", "error");
  if (!wanted.length) {
    $("query").focus();
    return say(mode() === "ask" ? "Type a question." : "Type what to look for.", "error");
  }
  running?.abort();
  const mine = (running = new AbortController());
  $("run").disabled = true;
  try {
    do {
      await askAll(mine.signal, mode(), wanted);
    } while ($("live").checked && camera && !mine.signal.aborted);
  } catch (error) {
    if (!mine.signal.aborted) complain(error);
  } finally {
    if (running === mine) {
      $("run").disabled = false;
      running = null;
    }
  }
}

async function askAll(signal, what, wanted) {
  const blob = camera ? await snapshot() : picture.blob;
  const began = performance.now();
  clearAnswers();
  say("Looking …");
  const view = wanted.length > 1 ? await openView(blob, signal) : null;
  try {
    // One after the other: the server has one model, and the first answer comes sooner so.
    for (const [index, query] of wanted.entries()) await askOne(signal, what, query, index, view, blob);
  } finally {
    if (view) closeView(view);
  }
  const found = results.reduce((sum, one) => sum + (one.points?.length ?? 0), 0);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  say(what === "ask" ? `Answered in ${seconds} s.` : `${plural(found, "point")} in ${seconds} s.`);
  $("after").hidden = false;
}

async function askOne(signal, what, query, index, view, blob) {
  const entry = new Entry(what, query, index);
  try {
    for await (const reply of ask(what, query, { view, blob, signal })) {
      if (reply.point) entry.point(reply.point);
      else if (reply.type === "piece") entry.piece(reply.text ?? "");
      else if (reply.pointing) entry.finish(reply.pointing);
      else if (reply.type === "text") entry.text(reply.text ?? "");
    }
  } catch (error) {
    if (signal.aborted) throw error;
    if (error instanceof Refusal && error.status === 401) throw error;
    entry.refuse(error);
  }
}

// One answer in the list, and its points on the picture
class Entry {
  constructor(what, query, index) {
    this.index = index;
    this.drawn = 0;
    this.element = element("li", "answer");
    this.element.dataset.mode = what;
    this.element.style.setProperty("--mark", what === "ask" ? "" : colour(index));
    const title = element("h2", "", query);
    this.count = element("span", "count");
    title.append(this.count);
    this.list = element("ul");
    this.words = element("p", "text");
    this.note = element("p", "note");
    this.words.hidden = this.note.hidden = true;
    this.element.append(title, this.words, this.list, this.note);
    $("answers").append(this.element);
  }

  point(point) {
    const number = ++this.drawn;
    const key = `${this.index}-${number}`;
    drawPoint(point, { key, number, index: this.index });
    const item = element("li");
    item.tabIndex = 0;
    item.append(element("span", "number", `${number}`), element("span", "", `${point.x.toFixed(3)}, ${point.y.toFixed(3)}`));
    item.append(score(point.score));
    for (const [event, on] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]])
      item.addEventListener(event, () => lightPoint(key, on));
    this.list.append(item);
    this.count.textContent = `${number}`;
  }

  finish(pointing) {
    for (const point of pointing.points?.slice(this.drawn) ?? []) this.point(point);
    this.count.textContent = `${this.drawn}`;
    const notes = {
      not_found: "Nothing there.",
      truncated: "Cut short: the deadline came first.",
      malformed: `The model's answer could not be read as points: ${pointing.text ?? ""}`,
    };
    const stated = pointing.stated_count ?? this.drawn;
    if (stated !== this.drawn) this.say(`The model wrote ${stated}; ${this.drawn} were pointed at.`);
    if (notes[pointing.status]) this.say(notes[pointing.status]);
    results.push(pointing);
  }

  piece(text) {
    this.words.hidden = false;
    this.words.textContent += text;
  }

  text(text) {
    this.words.hidden = false;
    this.words.textContent = text || "(no answer)";
    results.push({ query: this.element.querySelector("h2").firstChild.textContent, text });
  }

  refuse(error) {
    this.say([error.message, error.advice].filter(Boolean).join(" — "), "error");
    results.push({ query: this.element.querySelector("h2").firstChild.textContent, error: { kind: error.kind ?? "network", message: error.message } });
  }

  say(text, kind = "") {
    this.note.hidden = false;
    this.note.dataset.kind = kind;
    this.note.textContent = text;
  }
}

function score(value) {
  const box = element("span", "meter");
  if (value == null) return box;
  const bar = document.createElement("meter");
  bar.value = value;
  bar.title = "score";
  box.append(bar, `${Math.round(100 * value)} %`);
  return box;
}

function clearAnswers() {
  clearPoints();
  results = [];
  $("answers").replaceChildren();
  $("after").hidden = true;
}

// Small things

const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

function say(text, kind = "") {
  $("status").textContent = text;
  $("status").dataset.kind = kind;
}

function complain(error) {
  if (error instanceof Refusal && error.status === 401) {
    $("token-form").hidden = false;
    $("token").focus();
    return say("This server answers only with a token.", "error");
  }
  say([error.message, error.advice].filter(Boolean).join(" — "), "error");
}

async function lookAfterServer() {
  try {
    const { ready, state, model } = await server();
    $("server").dataset.state = ready ? "ready" : "wait";
    $("server-text").textContent = ready ? `${model}` : state;
    setTimeout(lookAfterServer, ready ? 15000 : 2000);
  } catch {
    $("server").dataset.state = "gone";
    $("server-text").textContent = "no server";
    setTimeout(lookAfterServer, 3000);
  }
}

async function copy() {
  const text = JSON.stringify(results.length === 1 ? results[0] : results, null, 2);
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("The browser does not let this page copy; the answers are in the console.", "error");
    console.log(text);
  }
}

// Wiring

const firstPicture = (items) => [...items].find((file) => file.type.startsWith("image/"));

// After the key press, not within it: Chromium opens no file dialog from inside the event of the Enter key.
for (const id of ["choose", "again-choose"]) $(id).addEventListener("click", () => setTimeout(() => $("file").click()));
for (const id of ["camera", "again-camera"]) $(id).addEventListener("click", startCamera);
$("file").addEventListener("change", (event) => {
  if (event.target.files[0]) show(event.target.files[0]);
  event.target.value = "";
});
$("snap").addEventListener("click", async () => show(await snapshot()));
$("live").addEventListener("change", () => $("live").checked && !running && run());
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    run();
  }
});
for (const radio of document.querySelectorAll("input[name=mode]"))
  radio.addEventListener("change", () => {
    $("run").textContent = VERBS[mode()];
    const asks = mode() === "ask";
    $("query-label").textContent = asks ? "Your question" : mode() === "count" ? "What to count" : "What to look for";
    $("query").placeholder = asks ? "What is on the table?" : mode() === "count" ? "boats, people" : "the red mug, door handles";
    $("hint").hidden = asks;
  });
$("copy").addEventListener("click", copy);
$("clear").addEventListener("click", () => {
  clearAnswers();
  say("");
  $("query").focus();
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value);
  $("token-form").hidden = true;
  lookAfterServer();
  run();
});
document.addEventListener("paste", (event) => {
  const file = firstPicture(event.clipboardData?.files ?? []);
  if (file) {
    event.preventDefault();
    show(file);
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
  const file = firstPicture(event.dataTransfer.files);
  if (file) show(file);
  else say("That was no picture: drop a file, not a link.", "error");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) {
    running.abort();
    say("Stopped.");
  }
});
lookAfterServer();
