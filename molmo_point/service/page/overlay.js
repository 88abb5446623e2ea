// Points and their error ellipses, drawn over the picture in its own pixels on the screen.

const SVG = "http://www.w3.org/2000/svg";
// Dark enough to be seen on white, light enough on black; told apart by people who see fewer colours (after Okabe and Ito).
const COLOURS = ["#d6336c", "#0077bb", "#009e73", "#e67700", "#7b2cbf", "#00838f", "#a61e4d", "#5c7cfa"];
// Radius, in standard deviations, of the ellipse that holds 95 % of a 2D Gaussian: sqrt(-2 ln 0.05).
const SIGMAS = 2.4477;

const overlay = document.getElementById("overlay");
const drawn = [];

export const colour = (index) => COLOURS[index % COLOURS.length];

export function clearPoints() {
  drawn.length = 0;
  overlay.replaceChildren();
}

// point: x, y in 0-1 of the picture, covariance (xx, xy, yy) in the same units or absent.
export function drawPoint(point, { key, number, index }) {
  const group = node("g", { "data-key": key });
  const parts = { point, group, ellipse: null, halo: null, ring: null, core: null, label: null };
  if (point.covariance) {
    parts.ellipse = node("ellipse", { class: "ellipse", fill: colour(index), stroke: colour(index) });
    group.append(parts.ellipse);
  }
  parts.halo = node("circle", { class: "halo", r: 8 });
  parts.ring = node("circle", { class: "dotmark", r: 8, stroke: colour(index) });
  parts.core = node("circle", { class: "core", r: 3.6, fill: colour(index) });
  parts.label = node("text", { fill: colour(index) });
  parts.label.textContent = number;
  group.append(parts.halo, parts.ring, parts.core, parts.label);
  overlay.append(group);
  drawn.push(parts);
  place(parts);
}

export function lightPoint(key, on) {
  overlay.querySelector(`[data-key="${key}"]`)?.classList.toggle("lit", on);
}

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function place({ point, ellipse, halo, ring, core, label }) {
  const { width, height } = overlay.getBoundingClientRect();
  const [x, y] = [point.x * width, point.y * height];
  for (const circle of [halo, ring, core]) {
    circle.setAttribute("cx", x);
    circle.setAttribute("cy", y);
  }
  // The number stays inside the picture.
  label.setAttribute("x", x > width - 34 ? x - 24 : x + 13);
  label.setAttribute("y", y < 20 ? y + 18 : y - 8);
  if (!ellipse) return;
  const [xx, xy, yy] = point.covariance;
  const [a, b, c] = [xx * width * width, xy * width * height, yy * height * height];
  const [middle, spread] = [(a + c) / 2, Math.hypot((a - c) / 2, b)];
  ellipse.setAttribute("rx", SIGMAS * Math.sqrt(Math.max(0, middle + spread)));
  ellipse.setAttribute("ry", SIGMAS * Math.sqrt(Math.max(0, middle - spread)));
  const degrees = (Math.atan2(2 * b, a - c) / 2) * (180 / Math.PI);
  ellipse.setAttribute("transform", `translate(${x} ${y}) rotate(${degrees})`);
}

new ResizeObserver(() => drawn.forEach(place)).observe(overlay);
