// Points and their error ellipses, drawn over the image in its own pixels on the screen.

const SVG = "http://www.w3.org/2000/svg";
// Dark enough to be seen on white, light enough on black; told apart by people who see fewer colours (after Okabe and Ito).
const COLOURS = ["#d6336c", "#0077bb", "#009e73", "#e67700", "#7b2cbf", "#00838f", "#a61e4d", "#5c7cfa"];
// Radius, in standard deviations, of the ellipse that holds 95 % of a 2D Gaussian: sqrt(-2 ln 0.05).
const SIGMAS = 2.4477;
// From this many points on, markers are small and ellipses are outlines.
const CROWD = 16;

const overlay = document.getElementById("overlay");
let shown = null; // the layer on the screen

export const colour = (index) => COLOURS[index % COLOURS.length];

// The points of one round of answers. Not on the screen until it is shown: the one before stays until then.
export class Layer {
  constructor() {
    this.drawn = [];
    this.frame = null; // the animation frame in which it is arranged next
    this.group = node("svg", { class: "layer", width: "100%", height: "100%" });
  }

  show() {
    shown = this;
    overlay.replaceChildren(this.group);
    this.arrange();
  }

  // point: x, y in 0-1 of the image, covariance (xx, xy, yy) in the same units or absent. onLight(on) and onPick() tell the list.
  add(point, { key, number, index, onLight, onPick }) {
    const group = node("g", { "data-key": key, class: "mark" });
    const parts = { point, group, number, index, ellipse: null };
    if (point.covariance) {
      parts.ellipse = node("ellipse", { class: "ellipse", fill: colour(index), stroke: colour(index) });
      group.append(parts.ellipse);
    }
    parts.halo = node("circle", { class: "halo" });
    parts.ring = node("circle", { class: "dotmark", stroke: colour(index) });
    parts.core = node("circle", { class: "core", fill: colour(index) });
    parts.label = node("text", { fill: colour(index) });
    parts.label.textContent = number;
    group.append(parts.halo, parts.ring, parts.core, parts.label);
    group.addEventListener("mouseenter", () => onLight(true));
    group.addEventListener("mouseleave", () => onLight(false));
    group.addEventListener("click", onPick);
    this.group.append(group);
    this.drawn.push(parts);
    // Once a frame: each arrangement looks at all points.
    if (shown === this) this.frame ??= requestAnimationFrame(() => this.settle());
  }

  // Arrange at once, if it is to be done.
  settle() {
    if (!this.frame) return;
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (shown === this) this.arrange();
  }

  light(key, on) {
    const group = this.group.querySelector(`[data-key="${key}"]`);
    group?.classList.toggle("lit", on);
    if (on && group) this.group.append(group); // on top of the others
  }

  // Place every marker, then the numbers, each where it covers neither a marker nor another number; else it is hidden until lit.
  arrange() {
    const { width, height } = overlay.getBoundingClientRect();
    const crowded = this.drawn.length >= CROWD;
    const radius = crowded ? 5 : 8;
    this.group.classList.toggle("crowd", crowded);
    const taken = this.drawn.map((parts) => place(parts, width, height, radius));
    for (const parts of this.drawn) {
      const box = freeBox(parts, width, height, radius, taken);
      parts.group.classList.toggle("crowded", !box);
      const at = box ?? candidates(parts, width, height, radius)[0];
      parts.label.setAttribute("x", at.left);
      parts.label.setAttribute("y", at.bottom - 2);
      if (box) taken.push(box);
    }
  }
}

export function clearPoints() {
  shown = null;
  overlay.replaceChildren();
}

// The ellipse of a covariance in an image of that size: radii and the angle of the first, in radians.
export function ellipseOf([xx, xy, yy], width, height) {
  const [a, b, c] = [xx * width * width, xy * width * height, yy * height * height];
  const [middle, spread] = [(a + c) / 2, Math.hypot((a - c) / 2, b)];
  return {
    rx: SIGMAS * Math.sqrt(Math.max(0, middle + spread)),
    ry: SIGMAS * Math.sqrt(Math.max(0, middle - spread)),
    angle: Math.atan2(2 * b, a - c) / 2,
  };
}

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function place({ point, ellipse, halo, ring, core }, width, height, radius) {
  const [x, y] = [point.x * width, point.y * height];
  for (const circle of [halo, ring, core]) {
    circle.setAttribute("cx", x);
    circle.setAttribute("cy", y);
    circle.setAttribute("r", circle === core ? radius * 0.45 : radius);
  }
  if (ellipse) {
    const { rx, ry, angle } = ellipseOf(point.covariance, width, height);
    ellipse.setAttribute("rx", rx);
    ellipse.setAttribute("ry", ry);
    ellipse.setAttribute("transform", `translate(${x} ${y}) rotate(${angle * (180 / Math.PI)})`);
  }
  return { left: x - radius - 2, right: x + radius + 2, top: y - radius - 2, bottom: y + radius + 2 };
}

// Where a number may stand, best first.
function candidates({ point, number }, width, height, radius) {
  const [x, y] = [point.x * width, point.y * height];
  const [wide, high, gap] = [8 * `${number}`.length + 1, 14, radius + 3];
  const corners = [[gap, -gap - high + 6], [gap, gap - 6], [-gap - wide, -gap - high + 6], [-gap - wide, gap - 6]];
  const boxes = corners.map(([dx, dy]) => ({ left: x + dx, right: x + dx + wide, top: y + dy, bottom: y + dy + high }));
  const inside = boxes.filter((box) => box.left >= 0 && box.right <= width && box.top >= 0 && box.bottom <= height);
  return inside.length ? inside : boxes;
}

function freeBox(parts, width, height, radius, taken) {
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  return candidates(parts, width, height, radius).find((box) => taken.every((other) => apart(box, other)));
}

new ResizeObserver(() => shown?.arrange()).observe(overlay);
