// How to find an element again: by holding on to it, by a selector, by its role and name; and where one can scroll.
(() => {
  const M = globalThis.molmo;
  if (!M || M.locator) return;
  const D = M.dom;

  // Hold on to the element that somebody is being asked about, to see afterwards whether it is still the one.
  // `strict`: this very element, not one that the page draws in its stead.
  M.keep = (strict) => {
    M.keptStrictly = Boolean(strict);
    const control = M.target && M.controlOf(M.target);
    M.kept = M.target;
    M.keptAs = control && { control, role: M.roleOf(control), name: M.nameOf(control, "native"), tag: D.tag(control) };
    return true;
  };
  M.isKept = () => Boolean(M.kept) && M.kept === M.target && D.connected(M.kept);

  // Whether the element kept is on: of itself, or of the one that a redrawn page shows in its stead; null where that cannot be told.
  M.keptState = () => {
    const k = M.keptAs;
    if (!k) return null;
    if (D.connected(k.control)) return M.stateOf(k.control).checked;
    if (!k.name) return null;
    const again = [...M.deep(M.NATIVE + "," + M.MARKED)].filter((e) => D.tag(e) === k.tag && M.roleOf(e) === k.role && M.nameOf(e, "native") === k.name);
    return again.length === 1 ? M.stateOf(again[0]).checked : null;
  };

  // Several elements of one screenshot: where each is now, and whether what lies at a point is the one meant.
  M.holdNone = () => { M.held = []; return true; };
  M.hold = (x, y) => { const r = M.wholeOf(M.target); M.held.push([M.target, x - r.left, y - r.top]); return M.held.length - 1; };
  M.heldAt = (i) => { const [e, dx, dy] = M.held[i]; if (!D.connected(e)) return null; const r = M.wholeOf(e); return { x: r.left + dx, y: r.top + dy }; };
  M.isHeld = (i) => Boolean(M.held) && M.held[i] !== undefined && M.held[i][0] === M.target;

  const attribute = (name, value) => `[${name}=${JSON.stringify(value)}]`;
  // Generated names (":r1:", "css-1x2y3z", long digits) do not survive the next build or visit.
  const lasting = (id) => id && id.length < 50 && !/\d{4,}|^:|--|[0-9a-f]{8,}|^(ember|ext-|radix|mui-|react|headlessui)/i.test(id);
  M.selectors = (e) => {
    const found = [];
    const tag = D.tag(e);
    for (const name of ["data-testid", "data-test", "data-qa", "data-cy"]) if (D.attr(e, name)) found.push(attribute(name, D.attr(e, name)));
    if (lasting(D.attr(e, "id"))) found.push("#" + CSS.escape(D.attr(e, "id")));
    if (D.attr(e, "name")) found.push(tag + attribute("name", D.attr(e, "name")));
    if (D.attr(e, "aria-label")) found.push(tag + attribute("aria-label", D.attr(e, "aria-label")));
    if (tag === "a" && D.attr(e, "href") && !D.attr(e, "href").startsWith("javascript")) found.push("a" + attribute("href", D.attr(e, "href")));
    if (tag === "iframe" || tag === "frame") { if (D.attr(e, "title")) found.push(tag + attribute("title", D.attr(e, "title"))); if (D.attr(e, "src")) found.push(tag + attribute("src", D.attr(e, "src"))); found.push(tag); }
    const all = (s) => [...M.deep(s)].length;
    return found.filter((s) => { try { return all(s) === 1; } catch (error) { return false; } });
  };
  // What two elements of one name have in common, quick to read.
  const reading = (e) => M.clean([D.attr(e, "aria-label"), D.textContent(e), typeof e.value === "string" ? e.value : ""].join("\n"));
  M.locator = () => {
    const e = M.target, root = D.root(e);
    // No selector reaches into a closed shadow root.
    for (let r = root; r instanceof ShadowRoot; r = D.root(r.host)) if (r.mode === "closed") return null;
    const css = M.selectors(e)[0] || "";
    const role = M.roleOf(e), name = M.nameOf(e, "native"), mine = reading(e);
    let alike = 0;
    if (role && name && role !== "label") for (const other of M.deep("*")) if (M.roleOf(other) === role && reading(other) === mine && M.nameOf(other, "native") === name) alike += 1;
    return { css, role: alike === 1 ? role : "", name: alike === 1 ? name : "" };
  };

  // The target is held on to, and can be found again like this.
  M.chosen = () => { M.keep(false); return M.locator(); };

  // Where the wheel turns what: for each thing that scrolls a place inside it that nothing else scrolls, nearest to its middle.
  const GRID = 9;
  const scrolls = (e, axis) => {
    const page = document.scrollingElement;
    const more = axis === "y" ? e.scrollHeight - e.clientHeight : e.scrollWidth - e.clientWidth;
    if (more < 2) return false;
    const style = getComputedStyle(e)[axis === "y" ? "overflowY" : "overflowX"];
    return e === page ? style !== "hidden" && style !== "clip" : style === "auto" || style === "scroll";
  };
  const scrollerOf = (leaf, axis) => {
    if (leaf && (D.tag(leaf) === "iframe" || D.tag(leaf) === "frame")) return axis === "y" ? leaf : null;
    for (let e = leaf; e && e !== document.documentElement; e = M.parentOf(e)) if (e !== D.body() && scrolls(e, axis)) return e;
    const page = document.scrollingElement;
    return page && scrolls(page, axis) ? page : null;
  };
  M.scrollers = () => {
    const found = { y: new Map(), x: new Map() }, page = document.scrollingElement;
    for (let n = 0; n < GRID * GRID; n += 1) {
      const x = (((n % GRID) + 0.5) / GRID) * innerWidth, y = ((Math.floor(n / GRID) + 0.5) / GRID) * innerHeight;
      const leaf = M.leafAt(x, y);
      for (const axis of ["y", "x"]) {
        const e = scrollerOf(leaf, axis);
        if (!e) continue;
        const r = e === page ? new DOMRect(0, 0, innerWidth, innerHeight) : M.wholeOf(e);
        const far = Math.hypot(x - (r.left + r.right) / 2, y - (r.top + r.bottom) / 2), before = found[axis].get(e);
        if (!before || far < before.far) found[axis].set(e, { x, y, axis, far, page: e === page, width: r.width, height: r.height });
      }
    }
    const order = (list) => list.sort((a, b) => Number(b.page) - Number(a.page) || b.width * b.height - a.width * a.height);
    return [...order([...found.y.values()]), ...order([...found.x.values()])];
  };
  // How much there is to scroll: an endless list grows when its end is reached.
  M.extent = () => {
    let sum = document.documentElement.scrollHeight + document.documentElement.scrollWidth;
    for (const e of M.deep("div,ul,ol,section,main,table,tbody,article,nav")) if (e.scrollHeight > e.clientHeight + 1) sum += e.scrollHeight;
    return sum;
  };
  // Whether the text is shown here: in the page, in shadow roots, in fields.
  M.shows = (text) => {
    const body = D.body();
    if (!body) return false;
    if (M.clean(body.innerText).includes(M.clean(text)) || M.wordsOf(body)[0].includes(M.clean(text))) return true;
    for (const e of M.deep("input,textarea,select")) {
      const shown = D.tag(e) === "select" ? [...e.selectedOptions].map((o) => o.label).join(" ") : e.type === "password" ? "" : e.value;
      if (shown && e.getClientRects().length && shown.includes(text)) return true;
    }
    return false;
  };
  M.framesNow = () => { M.inner = [...M.deep("iframe,frame,object")].filter((e) => D.rects(e).length); return M.inner.length; };
})();
