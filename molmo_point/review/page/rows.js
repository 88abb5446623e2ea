// The list of rows.

const FILTERS = {
  all: () => true,
  open: (row) => !row.accepted,
  check: (row) => row.agreement === false || row.count === null || (row.low !== null && row.high - row.low > 0.2 * Math.max(5, row.count)),
  changed: (row) => row.corrected !== null && row.corrected !== row.count,
};

export class Rows {
  constructor(list, filter, open) {
    this.list = list;
    this.filter = filter;
    this.open = open;
    this.rows = [];
    this.current = -1;
    filter.addEventListener("change", () => this.show());
  }

  fill(rows) {
    this.rows = rows;
    this.list.replaceChildren(...rows.map((row, number) => this.entry(row, number)));
    this.show();
  }

  entry(row, number) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.append(...["name", "number", "what", "mark"].map((name) => {
      const part = document.createElement("span");
      part.className = name;
      return part;
    }));
    button.addEventListener("click", () => this.open(number));
    item.append(button);
    this.write(item, row);
    return item;
  }

  write(item, row) {
    const [name, number, what, mark] = item.firstChild.children;
    // The mark keeps the path's slashes in place where the line is shown from its end.
    name.textContent = "\u200e" + row.file + (row.frame === null ? "" : ` #${row.frame}`);
    name.title = row.file;
    const model = row.count === null ? "NA" : row.count;
    number.textContent = row.corrected === null || row.corrected === row.count ? model : `${model} → ${row.corrected}`;
    what.textContent = row.query;
    mark.className = "mark " + (row.accepted ? "accepted" : FILTERS.check(row) ? "check" : "");
    mark.textContent = row.accepted ? "✓ accepted" : row.status === "error" ? "error" : FILTERS.check(row) ? "check" : "";
  }

  update(row) {
    const number = this.rows.findIndex((one) => one.id === row.id);
    if (number < 0) return;
    this.rows[number] = row;
    this.write(this.list.children[number], row);
  }

  show() {
    const keep = FILTERS[this.filter.value];
    this.rows.forEach((row, number) => { this.list.children[number].hidden = !keep(row); });
  }

  mark(number) {
    if (this.current >= 0) this.list.children[this.current].firstChild.removeAttribute("aria-current");
    this.current = number;
    const button = this.list.children[number].firstChild;
    button.setAttribute("aria-current", "true");
    button.scrollIntoView({ block: "nearest" });
  }

  // The next or previous row that the filter shows, or null.
  neighbour(step) {
    for (let number = this.current + step; number >= 0 && number < this.rows.length; number += step)
      if (!this.list.children[number].hidden) return number;
    return null;
  }
}
