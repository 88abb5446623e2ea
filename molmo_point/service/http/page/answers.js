// The answers of one round: a list in the panel and a layer on the image. The round before stays until this one is shown.

import { Layer, clearPoints, colour } from "/page/overlay.js";

const $ = (id) => document.getElementById(id);

export const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export class Round {
  constructor(image) {
    this.image = image; // { name, width, height, source }
    this.layer = new Layer();
    this.entries = [];
    this.shown = false;
  }

  entry(what, query, index) {
    const entry = new Entry(this, what, query, index);
    this.entries.push(entry);
    if (this.shown) $("answers").append(entry.element);
    return entry;
  }

  show() {
    if (this.shown) return;
    this.shown = true;
    $("answers").replaceChildren(...this.entries.map((entry) => entry.element));
    this.layer.show();
    $("after").hidden = false;
  }

  results() {
    return this.entries.map((entry) => entry.result).filter(Boolean);
  }

  get failed() {
    return this.entries.filter((entry) => entry.result?.error).length;
  }

  // In words: what came of it. Never a number of points for what failed.
  summary(seconds) {
    const good = this.entries.filter((entry) => entry.result && !entry.result.error);
    const failed = this.failed;
    const part = failed ? `${failed} of ${plural(this.entries.length, "query").replace(/querys$/, "queries")} failed` : "";
    if (!good.length) return part ? `${part}.` : "No answer.";
    const asks = good.some((entry) => entry.what === "ask");
    const points = good.reduce((sum, entry) => sum + (entry.result.points?.length ?? 0), 0);
    const cut = good.some((entry) => ["truncated", "malformed", "pending"].includes(entry.result.status));
    const found = asks ? `Answered in ${seconds} s` : `${cut ? "Incomplete: " : ""}${plural(points, "point")} in ${seconds} s`;
    return part ? `${found}; ${part}.` : `${found}.`;
  }
}

export function clearAnswers() {
  clearPoints();
  $("answers").replaceChildren();
  $("after").hidden = true;
}

// One query: its title, what must be known about the answer, and its points.
class Entry {
  constructor(round, what, query, index) {
    this.round = round;
    this.query = query;
    this.index = index;
    this.what = what;
    this.element = element("li", "answer");
    this.element.dataset.mode = what;
    this.element.style.setProperty("--mark", what === "ask" ? "" : colour(index));
    this.title = element("h2", "", query);
    this.count = element("span", "count");
    this.title.append(this.count);
    this.reset();
  }

  // Empty again: before the first reply, and before the query is asked once more.
  reset() {
    for (const parts of this.round.layer.drawn.filter((one) => one.index === this.index)) parts.group.remove();
    this.round.layer.drawn = this.round.layer.drawn.filter((one) => one.index !== this.index);
    this.drawn = 0;
    this.result = null;
    this.count.textContent = "";
    this.list = element("ul");
    this.words = element("p", "text");
    this.words.hidden = true;
    this.notes = element("div", "notes");
    this.element.replaceChildren(this.title, this.notes, this.words, this.list);
  }

  point(point) {
    const number = ++this.drawn;
    const key = `${this.index}-${number}`;
    const item = element("li");
    item.tabIndex = 0;
    item.dataset.key = key;
    const { width, height } = this.round.image;
    item.title = `${(point.x * width).toFixed(1)}, ${(point.y * height).toFixed(1)} pixels`;
    item.append(element("span", "number", `${number}`), element("span", "", `${point.x.toFixed(3)}, ${point.y.toFixed(3)}`));
    item.append(score(point.score));
    const layer = this.round.layer;
    for (const [event, on] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]])
      item.addEventListener(event, () => layer.light(key, on));
    this.list.append(item);
    const onPick = () => {
      item.scrollIntoView({ block: "nearest" });
      item.focus({ preventScroll: true });
    };
    layer.add(point, { key, number, index: this.index, onLight: (on) => item.classList.toggle("lit", on), onPick });
    this.count.textContent = `${number} …`;
  }

  finish(pointing) {
    for (const point of pointing.points?.slice(this.drawn) ?? []) this.point(point);
    this.round.layer.settle();
    const whole = pointing.status === "found" || pointing.status === "not_found";
    this.count.textContent = whole ? `${this.drawn}` : "?";
    for (const note of remarks(pointing, this.query)) this.say(note.text, note.kind);
    const { width, height } = this.round.image;
    // The wire leaves empty lists out.
    this.result = { points: [], ...pointing, query: this.query, image: this.round.image.name, image_size: [width, height] };
  }

  piece(text) {
    this.words.hidden = false;
    this.words.textContent += text;
  }

  text(text, reason) {
    this.words.hidden = false;
    this.words.textContent = text || "(no answer)";
    if (reason && reason !== "stop") this.say(`The text is cut: the ${reason === "timeout" ? "deadline" : "token limit"} came first.`, "error");
    this.result = { query: this.query, image: this.round.image.name, text, finish_reason: reason ?? "stop" };
  }

  refuse(error) {
    this.count.textContent = "failed";
    this.say([error.message, error.advice].filter(Boolean).join(" — "), "error");
    this.result = { query: this.query, image: this.round.image.name, error: { kind: error.kind ?? "network", message: error.message } };
  }

  say(text, kind = "") {
    const note = element("p", "note", text);
    note.dataset.kind = kind;
    this.notes.append(note);
  }
}

/** Characters of an unreadable answer that a note shows; Copy as JSON has the whole text. */
const SHOWN = 200;

const shortened = (text) => (text.length > SHOWN ? `${text.slice(0, SHOWN)} … (${text.length - SHOWN} more characters)` : text);

function remarks(pointing, query) {
  const notes = [];
  const points = pointing.points ?? [];
  // The same condition as on the command line: the image is foreign to the checkpoint's calibration.
  const foreign = pointing.in_domain != null && !pointing.calibrated;
  if (foreign) notes.push({ text: `This image is not like those that ${pointing.model || "the model"} was trained on (${Math.round(100 * pointing.in_domain)} % like them): most answers about it are wrong. Serve one of the published models for photographs.`, kind: "warn" });
  if (pointing.status === "not_found") notes.push({ text: foreign ? "Nothing found; that says little here." : "Nothing there." });
  if (pointing.status === "pending") notes.push({ text: "No answer yet." });
  if (pointing.status === "truncated") notes.push({ text: "Cut short: the deadline or the token limit came first. There may be more.", kind: "error" });
  if (pointing.status === "malformed") notes.push({ text: `The model's answer could not be read as points: ${shortened(pointing.text ?? "")}`, kind: "error" });
  const stated = pointing.stated_count ?? points.length;
  if (stated !== points.length) notes.push({ text: `The model wrote ${stated}; ${points.length} were pointed at.`, kind: "warn" });
  if (pointing.duplicates) notes.push({ text: `${plural(pointing.duplicates, "point")} written twice, counted once.` });
  const words = new Set(stems(query));
  const others = [...new Set(points.map((point) => point.label ?? ""))].filter((label) => label && !stems(label).some((word) => words.has(word)));
  if (others.length && !query.endsWith("?")) notes.push({ text: `The model calls it ${others.slice(0, 3).join(", ")}: these points may be wrong.`, kind: "warn" });
  return notes;
}

const stems = (text) => (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).flatMap((word) => [word, word.replace(/(es|s)$/, ""), word.replace(/s$/, ""), word.replace(/ies$/, "y")]);

function score(value) {
  const box = element("span", "meter");
  if (value == null) return box;
  const bar = document.createElement("meter");
  Object.assign(bar, { low: 0.5, high: 0.8, optimum: 1, value, title: "score" });
  box.append(bar, `${Math.round(100 * value)} %`);
  return box;
}

export function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}
