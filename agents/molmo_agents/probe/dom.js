// The DOM as it is, whatever the page named its fields. Runs in an isolated world: it shares the page's DOM but none of the
// page's JavaScript, so a page that replaces elementFromPoint or addEventListener changes nothing here, and sees none of these names.
(() => {
  if (globalThis.molmo) return;
  const M = (globalThis.molmo = {
    document: Math.random().toString(36).slice(2) + Date.now().toString(36),
    // Installed before the page's own scripts: then our capture listeners come first in line.
    early: !document.body,
    mutations: 0,
    scrolls: 0,
    seen: new Map(),
    frames: [],
    // Whether a screenshot was taken of this very document: without one nothing here is what the model saw.
    looked: false,
    target: null,
    leaf: null,
    others: [],
  });

  // A form's fields hide the form's own properties (`<input name=getAttribute>`), so they are read through the prototypes.
  const of = (proto, name) => {
    const found = Object.getOwnPropertyDescriptor(proto, name);
    const call = found.get || found.value;
    return (self, ...a) => Reflect.apply(call, self, a);
  };
  const E = Element.prototype, N = Node.prototype;
  const D = (M.dom = {
    tag: of(E, "localName"), attr: of(E, "getAttribute"), attributes: of(E, "attributes"), has: of(E, "hasAttribute"), matches: of(E, "matches"), closest: of(E, "closest"),
    rect: of(E, "getBoundingClientRect"), rects: of(E, "getClientRects"), all: of(E, "querySelectorAll"), shadow: of(E, "shadowRoot"),
    parent: of(N, "parentElement"), root: of(N, "getRootNode"), connected: of(N, "isConnected"), holds: of(N, "contains"), nodes: of(N, "childNodes"),
    slot: of(E, "assignedSlot"), textContent: of(N, "textContent"), elements: of(HTMLFormElement.prototype, "elements"), body: () => documentBody(document),
    active: (root) => (root instanceof Document ? documentActive(root) : root.activeElement),
  });
  const documentBody = of(Document.prototype, "body"), documentActive = of(Document.prototype, "activeElement");
  const documentAt = of(Document.prototype, "elementFromPoint"), documentStack = of(Document.prototype, "elementsFromPoint");
  const documentAll = of(Document.prototype, "querySelectorAll");
  const at = (root, x, y) => (root instanceof Document ? documentAt(root, x, y) : root.elementFromPoint(x, y));
  M.stackAt = (root, x, y) => (root instanceof Document ? documentStack(root, x, y) : root.elementsFromPoint(x, y));
  const all = (root, selector) => (root instanceof Document ? documentAll(root, selector) : root instanceof Element ? D.all(root, selector) : root.querySelectorAll(selector));

  // Outwards as it is drawn: what is put into a slot lies in what is around the slot.
  const parentOf = (M.parentOf = (e) => {
    const up = D.slot(e) || D.parent(e);
    if (up) return up;
    const root = D.root(e);
    return root instanceof ShadowRoot ? root.host : null;
  });
  M.contains = (a, b) => {
    for (let e = b; e; e = parentOf(e)) if (e === a) return true;
    return false;
  };
  M.controlOf = (e) => (D.tag(e) === "label" && e.control ? e.control : e);
  M.related = (a, b) => M.contains(a, b) || M.contains(b, a) || M.controlOf(a) === M.controlOf(b)
    || M.contains(M.controlOf(a), b) || M.contains(M.controlOf(b), a);

  M.deep = function* (selector, root) {
    yield* all(root || document, selector);
    for (const e of all(root || document, "*")) { const inner = D.shadow(e); if (inner) yield* M.deep(selector, inner); }
  };
  M.activeNow = () => {
    let e = D.active(document);
    while (e && D.shadow(e) && D.shadow(e).activeElement) e = D.shadow(e).activeElement;
    return e;
  };

  M.leafAt = (x, y, root) => {
    let e = at(root || document, x, y);
    if (e && root && root !== document && D.root(e) !== root) return null;
    for (let inner = e && D.shadow(e); inner; inner = D.shadow(e)) {
      const deeper = at(inner, x, y);
      if (!deeper || deeper === e || D.root(deeper) !== inner) break;
      e = deeper;
    }
    return (e && D.shadow(e) && slotted(e, x, y)) || e;
  };
  // Words put straight into a custom element are drawn in its slot, and the element itself is named for them.
  const slotted = (e, x, y) => {
    for (const node of D.nodes(e)) {
      if (node.nodeType !== 3 || !node.assignedSlot) continue;
      const range = document.createRange();
      range.selectNode(node);
      if ([...range.getClientRects()].some((r) => holds(r, x, y))) return node.assignedSlot;
    }
    return null;
  };

  // An area lies on the image that uses its map, in the image's own pixels.
  const areaBox = (e) => {
    const map = D.closest(e, "map"), name = map && D.attr(map, "name");
    const image = name && [...all(document, "img[usemap]")].find((i) => D.attr(i, "usemap") === "#" + name);
    if (!image) return [];
    const r = D.rect(image), n = (D.attr(e, "coords") || "").split(",").map(parseFloat);
    const shape = (D.attr(e, "shape") || "rect").toLowerCase();
    let box = [0, 0, r.width, r.height];
    if (shape.startsWith("circ")) box = [n[0] - n[2], n[1] - n[2], n[0] + n[2], n[1] + n[2]];
    else if (shape !== "default" && n.length >= 4) {
      const xs = n.filter((_, i) => i % 2 === 0), ys = n.filter((_, i) => i % 2 === 1);
      box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    }
    return box.some((v) => !Number.isFinite(v)) ? [] : [new DOMRect(r.left + box[0], r.top + box[1], box[2] - box[0], box[3] - box[1])];
  };
  const filled = (rects) => [...rects].filter((r) => r.width > 0 && r.height > 0);
  // Where an element is drawn: its own boxes, or those of what is in it where it has none (display: contents, floats, image maps).
  const boxesOf = (M.boxesOf = (e) => {
    if (D.tag(e) === "area") return areaBox(e);
    const own = D.rects(e), shown = filled(own);
    if (shown.length) return shown;
    if (!own.length && getComputedStyle(e).display !== "contents") return [];
    const range = document.createRange();
    range.selectNodeContents(e);
    const inner = filled(range.getClientRects());
    if (inner.length) return inner;
    return [...D.all(e, "*")].slice(0, 200).flatMap((child) => filled(D.rects(child)));
  });
  M.wholeOf = (e) => {
    const own = D.rect(e);
    if (own.width > 0 && own.height > 0) return own;
    const boxes = boxesOf(e);
    if (!boxes.length) return own;
    const left = Math.min(...boxes.map((r) => r.left)), top = Math.min(...boxes.map((r) => r.top));
    return new DOMRect(left, top, Math.max(...boxes.map((r) => r.right)) - left, Math.max(...boxes.map((r) => r.bottom)) - top);
  };
  const holds = (r, x, y) => x >= r.left && x < r.right && y >= r.top && y < r.bottom;
  M.holds = holds;
  // A wrapped inline link is several rectangles; the bounding box's centre may lie on none of them.
  M.rectAt = (e, x, y, leaf) => {
    for (const r of boxesOf(e)) if (holds(r, x, y)) return r;
    if (leaf && leaf !== e) for (const r of D.rects(leaf)) if (holds(r, x, y)) return r;
    return M.wholeOf(e);
  };
  M.box = (r) => ({ x: r.left, y: r.top, width: r.width, height: r.height });

  // document.open() takes every listener off the window and the document, ours too, in every world. A ping tells; the page cannot hear it.
  const name = "molmo" + M.document;
  const wanted = [];
  let heard = false;
  const pong = () => { heard = true; };
  M.listen = (on, type, listener, options) => { wanted.push([on, type, listener, options]); on.addEventListener(type, listener, options); };
  M.listening = () => {
    heard = false;
    window.dispatchEvent(new Event(name));
    if (heard) return true;
    for (const [on, type, listener, options] of wanted) on.addEventListener(type, listener, options);
    M.early = false;
    return false;
  };
  M.listen(window, name, pong, { capture: true });
  M.listen(document, "scroll", () => { M.scrolls += 1; }, { capture: true, passive: true });
  new MutationObserver((records) => {
    M.mutations += records.length;
    if (M.redrawn) M.redrawn(records);
    // What document.open() does to listeners, it does to the tree as well.
    if (records.some((r) => r.target === document)) M.listening();
  }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
})();
