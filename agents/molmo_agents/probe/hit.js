// What lies at a point, and what lay there when the screenshot was taken.
(() => {
  const M = globalThis.molmo;
  if (!M || M.hit) return;
  const D = M.dom, box = M.box, parentOf = M.parentOf;
  const MANY = 4000;
  const EDGES = ["x", "y", "width", "height"];

  const opacityOf = (e) => {
    let value = 1;
    for (let up = e; up; up = parentOf(up)) value *= parseFloat(getComputedStyle(up).opacity);
    return value;
  };
  const PAINTED = "img,svg,canvas,video,input,select,textarea,button,picture,object,embed";
  const painted = (e) => {
    for (const pseudo of [null, "::before", "::after"]) {
      const s = getComputedStyle(e, pseudo);
      if (pseudo && (s.content === "none" || s.content === "normal")) continue;
      if (pseudo && s.content !== '""') return true;
      if (s.backgroundImage !== "none" || (!/rgba\(.*, 0\)|transparent/.test(s.backgroundColor))) return true;
      if (parseFloat(s.borderTopWidth) + parseFloat(s.borderBottomWidth) + parseFloat(s.borderLeftWidth) + parseFloat(s.borderRightWidth) > 0 && s.borderTopStyle !== "none") return true;
    }
    return false;
  };
  const paints = (e) => {
    if (["input", "select", "textarea", "img", "canvas", "video", "iframe", "svg", "label", "option", "area"].includes(D.tag(e)) || e.ownerSVGElement) return true;
    if (M.clean(D.textContent(e)) || D.all(e, PAINTED).length || D.shadow(e) || D.tag(e) === "slot") return true;
    return painted(e) || [...D.all(e, "*")].slice(0, 100).some(painted);
  };

  // A control within the one that gets the press, which something of the outer one lies over (a card's ::after).
  const inner = (top, other) => other !== top && M.contains(top, other) && !M.contains(other, M.leaf) && M.strong(other)
    && M.controlOf(top) !== M.controlOf(other) && getComputedStyle(other).pointerEvents !== "none";
  // Whether the boxes around an element cut it off at this place: it is neither painted nor pressed there.
  const cutAt = (e, x, y) => {
    let position = getComputedStyle(e).position;
    for (let up = parentOf(e); up && position !== "fixed"; up = parentOf(up)) {
      const style = getComputedStyle(up);
      // What is placed absolutely is cut by what it is placed in.
      if (position === "absolute" && style.position === "static" && style.transform === "none") continue;
      if (style.overflow !== "visible" && style.display !== "contents" && !M.holds(D.rect(up), x, y)) return true;
      position = style.position;
    }
    return false;
  };
  // Things one could press, at this place, that have nothing to do with what gets the press: drawn over it, under it, or not at all.
  const othersAt = (x, y, top) => {
    const found = new Set();
    const stack = M.stackAt(document, x, y);
    const root = D.root(top);
    if (root !== document && root instanceof ShadowRoot) stack.push(...M.stackAt(root, x, y));
    for (const e of [...stack, ...M.seen.keys()]) {
      if (!D.connected(e) || D.tag(e) === "iframe" || D.tag(e) === "frame" || found.has(e)) continue;
      const [other] = stack.includes(e) ? M.actionable(e) : [M.kindOf(e) ? e : null];
      if (other && ((stack.includes(e) && inner(top, other)) || !M.related(other, top)) && M.boxesOf(other).some((r) => M.holds(r, x, y)) && !cutAt(other, x, y)) found.add(other);
    }
    const size = (e) => { const r = M.wholeOf(e); return r.width * r.height; };
    return [...found].sort((a, b) => size(a) - size(b));
  };

  // For what is no control (dragged, dropped on): everything at this place that has nothing to do with it. Returns how much there is.
  M.everythingAt = (x, y) => {
    const root = D.root(M.target), stack = M.stackAt(root instanceof ShadowRoot ? root : document, x, y);
    M.others = stack.filter((e) => !M.related(e, M.target) && !cutAt(e, x, y));
    return M.others.length;
  };

  // Everything about one element that a decision may need; texts are the page's words, so they are data.
  M.describe = (e, kind, x, y, leaf) => {
    const control = M.controlOf(e), words = M.wordsOf(e), name = M.nameOf(e, kind, words);
    const facts = M.formFacts(control), link = M.linkOf(e);
    const whole = M.wholeOf(e);
    let shadow = "";
    for (let r = D.root(e); r instanceof ShadowRoot; r = D.root(r.host)) shadow = shadow === "closed" ? shadow : r.mode;
    const given = [name, M.clean(D.attr(e, "title")), M.clean(D.attr(e, "aria-label")), M.clean(D.attr(e, "alt")),
      control.type === "submit" || control.type === "button" ? M.clean(control.value) : ""].filter(Boolean);
    const texts = [...new Set([...given, words[0], ...words[1], M.wordsOf(leaf)[0], ...M.describedAs(e), ...M.commandsOf(e)].filter(Boolean))];
    return {
      tag: D.tag(e), role: M.roleOf(e), kind, name, visible: words[0],
      texts, names: name ? [...given, words[0]].filter(Boolean) : given,
      box: box(M.rectAt(e, x, y, leaf)), whole: box(whole), input_type: (control.type && typeof control.type === "string" ? control.type : "").toLowerCase(),
      control_tag: D.tag(control), editable: control.isContentEditable === true || (document.designMode === "on" && e === D.body()), multiple: control.multiple || false, read_only: control.readOnly || false,
      disabled: D.matches(control, ":disabled") || Boolean(D.closest(e, "[aria-disabled=true],[inert]")),
      invisible: opacityOf(e) < 0.1 || !paints(e), exempt: ["input", "select", "label"].includes(D.tag(e)),
      href: link.href || (M.submits(control) ? facts.action : ""), download: link.download, opens_window: Boolean(link.href && link.target && !["_self", "_top", "_parent"].includes(link.target)),
      submits: M.submits(control), ...facts, ...M.stateOf(control), expanded: D.attr(e, "aria-expanded") === "true",
      ...compared(e, whole, x, y), selector: D.matches(e, M.NATIVE) || D.matches(e, M.MARKED), in_shadow: shadow, meaning: M.meaningOf(e, kind),
      leaf: { tag: D.tag(leaf), text: M.wordsOf(leaf)[0].slice(0, 80), id: D.attr(leaf, "id") || "" }, url: location.href, early: M.early,
      kept: M.isKept(), scroll: [scrollX, scrollY],
    };
  };
  M.stateOf = (control) => ({
    checked: control.checked === true || D.attr(control, "aria-checked") === "true" || D.attr(control, "aria-pressed") === "true",
  });

  // Against the latest screenshot: `same` is the same to the eye; `drift` differs by what counts on, blinks or breathes, and may be
  // taken for the same when a second look leads to the same element.
  const compared = (e, whole, x, y) => {
    const before = M.seen.get(e), now = box(whole);
    const facts = { looked: M.looked, full: M.seen.size > MANY, seen: Boolean(before), same: false, drift: false, hidden: Boolean(before) && before.hidden, aimed: M.aimed === e ? M.aimedBy : "" };
    if (!before) return facts;
    const sign = M.signOf(e), shift = EDGES.map((k) => Math.abs(before.box[k] - now[k]));
    facts.same = before.sign === sign && before.cls === D.attr(e, "class") && shift.every((v) => v <= 1) && M.sameRow(before);
    const breath = Math.max(4, 0.15 * Math.max(now.width, now.height));
    facts.drift = M.calm(before.sign) === M.calm(sign) && shift.every((v) => v <= breath) && M.boxesOf(e).some((r) => M.holds(r, x, y));
    return facts;
  };
  M.aimAt = (token) => { M.aimed = M.target; M.aimedBy = token; return true; };

  // The linear part of every transform around an element: how one of its CSS px is turned, scaled and mirrored on the screen.
  const linear = (e) => {
    let m = new DOMMatrix();
    for (let up = e; up; up = parentOf(up)) {
      const s = getComputedStyle(up), own = new DOMMatrix();
      if (/^-?[\d.]+deg$/.test(s.rotate)) own.rotateSelf(parseFloat(s.rotate));
      if (s.scale && s.scale !== "none") { const [sx, sy] = s.scale.split(" ").map(parseFloat); own.scaleSelf(sx, sy === undefined ? sx : sy); }
      if (s.transform && s.transform !== "none") own.multiplySelf(new DOMMatrix(s.transform));
      m = own.multiply(m);
    }
    return m;
  };
  // A frame's content begins inside its border and padding. (x, y) of this document in the frame's own pixels, and where those lie here.
  const inside = (M.inside = (e, x, y) => {
    const r = D.rect(e), s = getComputedStyle(e), m = linear(e), invisible = opacityOf(e) < 0.1;
    const dx = e.clientLeft + parseFloat(s.paddingLeft), dy = e.clientTop + parseFloat(s.paddingTop), w = e.offsetWidth, h = e.offsetHeight;
    if (Math.abs(m.b) > 1e-6 || Math.abs(m.c) > 1e-6) {
      // Turned: the middle of the box stays the middle of its bounds, whatever the origins of the transforms are.
      const k = r.width / (Math.abs(m.a) * w + Math.abs(m.c) * h), det = m.a * m.d - m.b * m.c, scale = k * Math.sqrt(Math.abs(det));
      const px = (x - (r.left + r.right) / 2) / k, py = (y - (r.top + r.bottom) / 2) / k;
      const ix = (m.d * px - m.c * py) / det + w / 2 - dx, iy = (m.a * py - m.b * px) / det + h / 2 - dy;
      return { x: ix, y: iy, left: x - ix * scale, top: y - iy * scale, sx: scale, sy: scale, invisible, turned: true };
    }
    const sx = Math.sign(m.a) * (w ? r.width / w : 1), sy = Math.sign(m.d) * (h ? r.height / h : 1);
    const left = (sx < 0 ? r.right : r.left) + dx * sx, top = (sy < 0 ? r.bottom : r.top) + dy * sy;
    return { x: (x - left) / sx, y: (y - top) / sy, left, top, sx, sy, invisible, turned: false };
  });
  const FRAMES = new Set(["iframe", "frame", "object", "embed"]);
  const isFrame = (e) => FRAMES.has(D.tag(e)) && !(D.tag(e) === "embed" || D.tag(e) === "object" ? /^image\//.test(D.attr(e, "type") || "") : false);

  // Whether a frame is where it was at the latest look; its own document cannot tell, and its old content may be shown for a while.
  const still = (e) => {
    const before = M.seen.get(e), now = box(D.rect(e));
    return Boolean(before) && D.connected(e) && EDGES.every((k) => Math.abs(before.box[k] - now[k]) <= 1);
  };
  const frameLeft = (x, y) => M.frames.some((e) => {
    const b = M.seen.get(e).box;
    return x >= b.x && y >= b.y && x < b.x + b.width && y < b.y + b.height && !still(e);
  });

  const HOSTS = new Set("article aside blockquote body div footer h1 h2 h3 h4 h5 h6 header main nav p section span".split(" "));
  // `solid`: the element is no frame although it could be one (an <object> that shows an image).
  M.hit = (x, y, root, solid) => {
    if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) return { outside: true, viewport: [innerWidth, innerHeight] };
    const leaf = M.leafAt(x, y, root);
    M.leaf = leaf;
    M.target = null;
    M.others = [];
    if (!leaf) return { nothing: true, moved: frameLeft(x, y), looked: M.looked };
    if (isFrame(leaf) && !solid) {
      M.target = leaf;
      M.others = othersAt(x, y, leaf);
      return { frame: inside(leaf, x, y), moved: !still(leaf) };
    }
    const closed = !D.shadow(leaf) && (D.tag(leaf).includes("-") || HOSTS.has(D.tag(leaf)));
    const [target, kind] = M.actionable(leaf);
    return { host: closed, moved: frameLeft(x, y), ...report(target || leaf, kind, x, y) };
  };
  const report = (e, kind, x, y) => {
    M.target = e;
    M.others = othersAt(x, y, e);
    const under = M.others.find(M.strong);
    const near = M.others.slice(0, 8).map((o) => { const r = M.wholeOf(o); return { name: M.nameOf(o, M.kindOf(o)).slice(0, 160), tag: D.tag(o), area: r.width * r.height }; });
    return { found: { ...M.describe(e, kind, x, y, M.leaf), others: near, beneath: under ? { name: M.nameOf(under, "native").slice(0, 160), tag: D.tag(under) } : null } };
  };

  // The `up`-th element outwards from the innermost is what takes a press, as its listeners say.
  M.retarget = (up, x, y) => {
    let e = M.leaf;
    for (let n = 0; n < up && parentOf(e); n += 1) e = parentOf(e);
    return report(e, "listener", x, y).found;
  };
  // Which element outwards from the innermost looks like something to press (a small filled box, a few words), or -1.
  const LOOKS = 80;
  const filled = (e) => { const s = getComputedStyle(e); return s.display !== "table-cell" && (s.backgroundImage !== "none" || !/rgba\(.*, 0\)|transparent/.test(s.backgroundColor)); };
  M.looksPressable = () => {
    let up = 0;
    for (let e = M.leaf; e && e !== D.body() && e !== document.documentElement; e = parentOf(e), up += 1) {
      const r = M.wholeOf(e);
      if (r.width > 0.5 * innerWidth || r.height > 0.25 * innerHeight || M.wordsOf(e)[0].length > LOOKS || D.all(e, M.NATIVE).length) return -1;
      if (filled(e)) return up;
    }
    return -1;
  };
  // Which elements outwards from the innermost are the page itself rather than a thing on it.
  M.roots = () => {
    const found = [];
    for (let e = M.leaf, up = 0; e; e = parentOf(e), up += 1) {
      const r = M.wholeOf(e), component = D.tag(e).includes("-") && r.width < 0.5 * innerWidth && r.height < 0.25 * innerHeight;
      const top = e === D.body() || e === document.documentElement || (up > 0 && D.parent(e) === D.body() && !painted(e) && !component);
      found.push(top || r.width * r.height > 0.5 * innerWidth * innerHeight);
    }
    return found;
  };

  M.state = () => ({
    document: M.document, early: M.early, url: location.href, scroll: [scrollX, scrollY], viewport: [innerWidth, innerHeight],
    dpr: devicePixelRatio, page: [visualViewport ? visualViewport.pageLeft : scrollX, visualViewport ? visualViewport.pageTop : scrollY],
    scale: visualViewport ? visualViewport.scale : 1, mutations: M.mutations, scrolls: M.scrolls,
  });

  // Remember what lies where, so that a later look can tell "the same button" from "another one in its place".
  M.snapshot = (canvases) => {
    M.seen = new Map();
    M.frames = [];
    M.looked = true;
    for (const e of M.deep(M.NATIVE + "," + M.MARKED + ",iframe,frame,object,embed")) {
      const r = M.wholeOf(e);
      if (r.bottom < 0 || r.right < 0 || r.top > innerHeight || r.left > innerWidth || !r.width || !r.height) continue;
      if (isFrame(e)) { M.frames.push(e); M.seen.set(e, { sign: "", cls: "", box: box(r) }); }
      else M.seen.set(e, { sign: M.signOf(e), cls: D.attr(e, "class"), box: box(r), hidden: hiddenNow(e, r) });
      if (M.seen.size > MANY) break;
    }
    M.rememberRows(M.seen);
    return { state: M.state(), frames: M.frames.map((e) => inside(e, 0, 0)), masks: M.masks(canvases) };
  };
  // A frame in a closed shadow root, which no query finds. {} where it is not shown.
  M.addFrame = (e) => {
    const r = D.rect(e);
    if (r.bottom < 0 || r.right < 0 || r.top > innerHeight || r.left > innerWidth || !r.width || !r.height) return {};
    M.seen.set(e, { sign: "", cls: "", box: box(r) });
    return { index: M.frames.push(e) - 1, inside: inside(e, 0, 0) };
  };
  // Something else lies over its middle: then the screenshot need not show it at all.
  const hiddenNow = (e, r) => {
    const leaf = M.leafAt((r.left + r.right) / 2, (r.top + r.bottom) / 2);
    return Boolean(leaf) && !M.related(leaf, e);
  };
})();
