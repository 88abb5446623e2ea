// The points over the image: drawn, selected, moved, added and deleted. Positions are 0-1 of the image.

const NS = "http://www.w3.org/2000/svg";
const RADIUS = 9;
const STEP = 1;
const FAR = 10;

export class Points {
  // changed(): after every change by the person.
  constructor(svg, sheet, changed) {
    this.svg = svg;
    this.sheet = sheet;
    this.changed = changed;
    this.points = [];
    this.history = [];
    this.chosen = -1;
    this.drag = null;
    sheet.addEventListener("pointerdown", (event) => this.press(event));
    sheet.addEventListener("pointermove", (event) => this.follow(event));
    sheet.addEventListener("pointerup", (event) => this.release(event));
    sheet.addEventListener("pointercancel", () => { this.drag = null; });
    new ResizeObserver(() => this.draw()).observe(sheet);
  }

  fill(points) {
    this.points = points.map((point) => ({ ...point }));
    this.history = [];
    this.chosen = -1;
    this.draw();
  }

  replace(points) {
    this.remember();
    this.points = points.map((point) => ({ ...point }));
    this.chosen = -1;
    this.finish();
  }

  add(x = 0.5, y = 0.5) {
    this.remember();
    this.points.push({ x, y, origin: null });
    this.chosen = this.points.length - 1;
    this.finish();
  }

  remove() {
    if (this.chosen < 0) return;
    this.remember();
    this.points.splice(this.chosen, 1);
    this.chosen = Math.min(this.chosen, this.points.length - 1);
    this.finish();
  }

  move(across, down, far) {
    if (this.chosen < 0) return;
    this.remember();
    const box = this.sheet.getBoundingClientRect();
    const step = far ? FAR : STEP;
    const point = this.points[this.chosen];
    point.x = inside(point.x + across * step / box.width);
    point.y = inside(point.y + down * step / box.height);
    this.finish();
  }

  choose(step) {
    if (!this.points.length) return;
    this.chosen = (this.chosen + step + this.points.length + (this.chosen < 0 && step < 0 ? 1 : 0)) % this.points.length;
    this.draw();
    this.svg.children[this.chosen].scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  undo() {
    const before = this.history.pop();
    if (!before) return;
    this.points = before;
    this.chosen = Math.min(this.chosen, before.length - 1);
    this.finish();
  }

  remember() {
    this.history.push(this.points.map((point) => ({ ...point })));
  }

  finish() {
    this.draw();
    this.changed();
  }

  draw() {
    const box = this.sheet.getBoundingClientRect();
    if (!box.width) return;
    this.svg.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    this.svg.replaceChildren(...this.points.map((point, number) => {
      const group = document.createElementNS(NS, "g");
      group.setAttribute("class", `${point.origin === null ? "added" : ""} ${number === this.chosen ? "chosen" : ""}`);
      for (const [name, radius] of [["dot", RADIUS], ["ring", 2]]) {
        const circle = document.createElementNS(NS, "circle");
        circle.setAttribute("class", name);
        circle.setAttribute("cx", point.x * box.width);
        circle.setAttribute("cy", point.y * box.height);
        circle.setAttribute("r", radius);
        group.append(circle);
      }
      return group;
    }));
  }

  place(event) {
    const box = this.sheet.getBoundingClientRect();
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  }

  press(event) {
    if (event.button !== 0) return;
    const group = event.target.closest("g");
    if (!group) {
      this.add(...this.place(event));
      return;
    }
    this.chosen = [...this.svg.children].indexOf(group);
    this.drag = { from: [event.clientX, event.clientY], moved: false };
    this.sheet.setPointerCapture(event.pointerId);
    this.draw();
  }

  follow(event) {
    if (!this.drag) return;
    const [x, y] = this.drag.from;
    // A press that trembles is no drag.
    if (!this.drag.moved && Math.hypot(event.clientX - x, event.clientY - y) < 3) return;
    if (!this.drag.moved) this.remember();
    this.drag.moved = true;
    [this.points[this.chosen].x, this.points[this.chosen].y] = this.place(event);
    this.draw();
  }

  release() {
    if (this.drag && this.drag.moved) this.finish();
    this.drag = null;
  }
}

function inside(value) {
  return Math.min(1, Math.max(0, value));
}
