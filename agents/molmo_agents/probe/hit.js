// What lies at a point. Runs in an isolated world: it shares the page's DOM but none of the page's JavaScript, so a page
// that replaces elementFromPoint or addEventListener changes nothing here, and sees none of these names.
(() => {
  if (globalThis.molmo) return;
  const M = (globalThis.molmo = {
    document: Math.random().toString(36).slice(2) + Date.now().toString(36),
    // Installed before the page's own scripts: then our capture listeners come first in line.
    early: !document.body,
    mutations: 0,
    scrolls: 0,
    seen: new Map(),
    target: null,
    leaf: null,
    chain: [],
  });

  const NATIVE = "a[href],area[href],button,input:not([type=hidden]),select,textarea,summary,option,label,video[controls],audio[controls]";
  const MARKED = "[role],[onclick],[onmousedown],[tabindex],[contenteditable]";
  const ROLES = new Set(("button link checkbox radio tab menuitem menuitemcheckbox menuitemradio option switch combobox " +
    "textbox searchbox slider spinbutton treeitem gridcell listbox").split(" "));
  const IMPLIED = { a: "link", area: "link", button: "button", select: "combobox", textarea: "textbox", summary: "button", option: "option", label: "label" };
  const INPUTS = { checkbox: "checkbox", radio: "radio", button: "button", submit: "button", reset: "button", image: "button", range: "slider", number: "spinbutton", search: "searchbox" };

  const parentOf = (M.parentOf = (e) => {
    if (e.parentElement) return e.parentElement;
    const root = e.getRootNode();
    return root instanceof ShadowRoot ? root.host : null;
  });
  const contains = (a, b) => {
    for (let e = b; e; e = parentOf(e)) if (e === a) return true;
    return false;
  };

  const roleOf = (M.roleOf = (e) => {
    const role = (e.getAttribute("role") || "").trim().split(/\s+/)[0].toLowerCase();
    if (role) return role;
    const tag = e.localName;
    if (tag === "input") return INPUTS[e.type] || "textbox";
    return IMPLIED[tag] || "";
  });

  const kindOf = (M.kindOf = (e) => {
    if (e.matches(NATIVE)) return e.localName === "label" && !e.control ? "" : "native";
    if (ROLES.has(roleOf(e))) return "role";
    if (e.isContentEditable && !(e.parentElement && e.parentElement.isContentEditable)) return "native";
    if (e.hasAttribute("onclick") || e.hasAttribute("onmousedown") || (e.hasAttribute("tabindex") && e.tabIndex >= 0)) return "attribute";
    if (e.localName === "canvas") return "canvas";
    const up = parentOf(e);
    if (getComputedStyle(e).cursor === "pointer" && !(up && getComputedStyle(up).cursor === "pointer")) return "cursor";
    return "";
  });

  const actionable = (M.actionable = (leaf) => {
    for (let e = leaf; e && e !== document.body && e !== document.documentElement; e = parentOf(e)) {
      const kind = kindOf(e);
      if (kind) return [e, kind];
    }
    return [null, ""];
  });

  const clean = (text) => (text || "").replace(/\s+/g, " ").trim().slice(0, 160);
  const labelled = (e) => (e.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean)
    .map((id) => { const other = e.getRootNode().getElementById(id); return other ? other.innerText || other.textContent : ""; }).join(" ");

  // Only actionable elements get a name, and a container is never named by the text inside it.
  const nameOf = (M.nameOf = (e, kind) => {
    const given = clean(labelled(e)) || clean(e.getAttribute("aria-label"));
    if (given) return given;
    if (e.localName === "input" || e.localName === "select" || e.localName === "textarea") {
      if (["button", "submit", "reset"].includes(e.type)) return clean(e.value) || (e.type === "button" ? "" : e.type[0].toUpperCase() + e.type.slice(1));
      const labels = e.labels ? [...e.labels].map((l) => l.innerText || l.textContent).join(" ") : "";
      return clean(labels) || clean(e.alt) || clean(e.placeholder) || clean(e.title) || clean(e.name);
    }
    const text = clean(e.innerText === undefined ? e.textContent : e.innerText);
    if (kind !== "native" && kind !== "role") {
      const inner = e.querySelectorAll ? e.querySelectorAll(NATIVE).length : 0;
      if (inner > 0 || text.length > 120) return "";
    }
    const image = e.querySelector && e.querySelector("img[alt],svg title,[aria-label]");
    return text || (image ? clean(image.getAttribute("alt") || image.getAttribute("aria-label") || image.textContent) : "") || clean(e.getAttribute("title"));
  });

  const rectAt = (M.rectAt = (e, x, y) => {
    const all = e.getBoundingClientRect();
    // A wrapped inline link is several rectangles; the bounding box's centre may lie on none of them.
    for (const r of e.getClientRects()) if (x >= r.left && x < r.right && y >= r.top && y < r.bottom) return r;
    return all;
  });
  const box = (M.box = (r) => ({ x: r.left, y: r.top, width: r.width, height: r.height }));

  const opacityOf = (e) => {
    let value = 1;
    for (let up = e; up; up = parentOf(up)) value *= parseFloat(getComputedStyle(up).opacity);
    return value;
  };
  const PAINTED = "img,svg,canvas,video,input,select,textarea,button,picture,object,embed";
  const paints = (e) => {
    if (["input", "select", "textarea", "img", "canvas", "video", "iframe", "svg", "label", "option", "area"].includes(e.localName) || e.ownerSVGElement) return true;
    if (clean(e.innerText) || (e.querySelector && e.querySelector(PAINTED)) || e.shadowRoot) return true;
    for (const pseudo of [null, "::before", "::after"]) {
      const s = getComputedStyle(e, pseudo);
      if (pseudo) { if (s.content !== "none" && s.content !== '""' && s.content !== "normal") return true; }
      if (s.backgroundImage !== "none" || (!/rgba\(.*, 0\)|transparent/.test(s.backgroundColor))) return true;
      if (parseFloat(s.borderTopWidth) + parseFloat(s.borderBottomWidth) + parseFloat(s.borderLeftWidth) + parseFloat(s.borderRightWidth) > 0 && s.borderTopStyle !== "none") return true;
    }
    return false;
  };

  M.leafAt = (x, y, root) => {
    let e = (root || document).elementFromPoint(x, y);
    if (e && root && root !== document && e.getRootNode() !== root) return null;
    while (e && e.shadowRoot) {
      const inner = e.shadowRoot.elementFromPoint(x, y);
      if (!inner || inner === e || inner.getRootNode() !== e.shadowRoot) break;
      e = inner;
    }
    return e;
  };

  const related = (a, b) => contains(a, b) || contains(b, a) || (a.localName === "label" && a.control === b) || (b.localName === "label" && b.control === a);
  const strong = (e) => { const k = kindOf(e); return k === "native" || k === "role"; };

  // The first thing one could press under the topmost, if it has nothing to do with it.
  const beneath = (x, y, top) => {
    const root = top.getRootNode();
    let stack = root.elementsFromPoint ? root.elementsFromPoint(x, y) : document.elementsFromPoint(x, y);
    if (root !== document) stack = [...stack, ...document.elementsFromPoint(x, y)];
    for (const e of stack) {
      const [other] = actionable(e.shadowRoot ? e.shadowRoot.elementFromPoint(x, y) || e : e);
      if (other && !related(other, top) && strong(other)) return other;
    }
    return null;
  };

  const form = (e) => e.form || (e.closest && e.closest("form"));
  const submits = (e) => Boolean(form(e)) && (e.localName === "button" ? e.type === "submit" : e.localName === "input" && ["submit", "image"].includes(e.type));
  const formFacts = (e) => {
    const f = form(e);
    if (!f) return { form_texts: [], form_password: false, form_card: false, form_method: "", action: "" };
    const fields = [...f.elements];
    const buttons = fields.filter(submits);
    return {
      form_texts: buttons.slice(0, 3).map((b) => nameOf(b, "native")),
      form_password: fields.some((i) => i.type === "password" && i.value),
      form_card: fields.some((i) => /^cc-|card.?num|cvc|cvv/i.test((i.autocomplete || "") + " " + (i.name || ""))),
      form_method: f.method || "",
      action: (submits(e) && e.getAttribute("formaction") ? e.formAction : f.getAttribute("action") ? new URL(f.getAttribute("action"), document.baseURI).href : location.href),
    };
  };

  // Everything about one element that a decision may need; texts are the page's words, so they are data.
  M.describe = (e, kind, x, y, leaf) => {
    const control = e.localName === "label" && e.control ? e.control : e;
    const name = nameOf(e, kind);
    const facts = formFacts(control);
    const link = e.closest && e.closest("a[href],area[href]");
    const before = M.seen.get(e);
    const rect = rectAt(e, x, y);
    const whole = e.getBoundingClientRect();
    let shadow = "";
    for (let r = e.getRootNode(); r instanceof ShadowRoot; r = r.host.getRootNode()) shadow = shadow === "closed" ? shadow : r.mode;
    const inside = clean(e.innerText);
    const given = [name, clean(e.title), clean(e.getAttribute("aria-label")), clean(e.getAttribute("alt")),
      control.type === "submit" || control.type === "button" ? clean(control.value) : ""].filter(Boolean);
    return {
      tag: e.localName, role: roleOf(e), kind, name,
      texts: [...given, inside].filter(Boolean), names: name ? [...given, inside].filter(Boolean) : given,
      box: box(rect), whole: box(whole), input_type: (control.type && typeof control.type === "string" ? control.type : "").toLowerCase(),
      control_tag: control.localName, editable: control.isContentEditable || false, multiple: control.multiple || false, read_only: control.readOnly || false,
      disabled: control.matches(":disabled") || Boolean(e.closest("[aria-disabled=true],[inert]")),
      invisible: opacityOf(e) < 0.1 || !paints(e), exempt: e.localName === "input" || e.localName === "select" || e.localName === "label",
      href: link ? link.href : submits(control) ? facts.action : "", download: Boolean(link && link.hasAttribute("download")), opens_window: Boolean(link && link.target && !["_self", "_top", "_parent"].includes(link.target)),
      submits: submits(control), ...facts, checked: control.checked === true || control.getAttribute("aria-checked") === "true" || control.getAttribute("aria-pressed") === "true",
      seen: Boolean(before), same: Boolean(before) && before.name === name && before.cls === e.getAttribute("class") && ["x", "y", "width", "height"].every((k) => Math.abs(before.box[k] - box(whole)[k]) <= 1),
      selector: e.matches(NATIVE) || e.matches(MARKED), in_shadow: shadow,
      leaf: { tag: leaf.localName, text: clean(leaf.innerText).slice(0, 80), id: leaf.id || "" }, url: location.href, early: M.early,
    };
  };

  // A frame's content begins inside its border and padding; a transform on it scales both axes.
  const inside = (e, x, y) => {
    const r = e.getBoundingClientRect(), s = getComputedStyle(e);
    const sx = e.offsetWidth ? r.width / e.offsetWidth : 1, sy = e.offsetHeight ? r.height / e.offsetHeight : 1;
    const dx = e.clientLeft + parseFloat(s.paddingLeft), dy = e.clientTop + parseFloat(s.paddingTop);
    return { x: (x - r.left) / sx - dx, y: (y - r.top) / sy - dy, left: r.left + dx * sx, top: r.top + dy * sy, sx, sy, invisible: opacityOf(e) < 0.1 };
  };
  M.inside = inside;

  // Whether a frame is where it was at the latest look; its own document cannot tell, and its old picture may be shown for a while.
  const still = (e) => {
    const before = M.seen.get(e), now = box(e.getBoundingClientRect());
    return Boolean(before) && e.isConnected && ["x", "y", "width", "height"].every((k) => Math.abs(before.box[k] - now[k]) <= 1);
  };
  const frameLeft = (x, y) => M.frames.some((e) => {
    const b = M.seen.get(e).box;
    return x >= b.x && y >= b.y && x < b.x + b.width && y < b.y + b.height && !still(e);
  });

  const HOSTS = new Set("article aside blockquote body div footer h1 h2 h3 h4 h5 h6 header main nav p section span".split(" "));
  M.hit = (x, y, root) => {
    if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) return { outside: true, viewport: [innerWidth, innerHeight] };
    const leaf = M.leafAt(x, y, root);
    M.leaf = leaf;
    M.target = null;
    if (!leaf) return { nothing: true, moved: frameLeft(x, y) };
    if (leaf.localName === "iframe" || leaf.localName === "frame") {
      M.target = leaf;
      return { frame: inside(leaf, x, y), moved: !still(leaf) };
    }
    const closed = !leaf.shadowRoot && (leaf.localName.includes("-") || HOSTS.has(leaf.localName));
    const [target, kind] = actionable(leaf);
    M.target = target || leaf;
    M.chain = [];
    for (let e = leaf; e && e !== document.body && e !== document.documentElement && M.chain.length < 8; e = parentOf(e)) M.chain.push(e);
    const under = beneath(x, y, target || leaf);
    const found = M.describe(M.target, kind, x, y, leaf);
    return { host: closed, moved: frameLeft(x, y), found: { ...found, beneath: under ? { name: nameOf(under, "native"), tag: under.localName } : null, area: (found.whole.width * found.whole.height) / (innerWidth * innerHeight) } };
  };

  M.deep = function* (selector, root) {
    yield* (root || document).querySelectorAll(selector);
    for (const e of (root || document).querySelectorAll("*")) if (e.shadowRoot) yield* M.deep(selector, e.shadowRoot);
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
    for (const e of M.deep(NATIVE + "," + MARKED + ",iframe,frame")) {
      const r = e.getBoundingClientRect();
      if (r.bottom < 0 || r.right < 0 || r.top > innerHeight || r.left > innerWidth || !r.width || !r.height) continue;
      if (e.localName === "iframe" || e.localName === "frame") { M.frames.push(e); M.seen.set(e, { name: "", cls: "", box: box(r) }); }
      else { const kind = kindOf(e); M.seen.set(e, { name: nameOf(e, kind), cls: e.getAttribute("class"), box: box(r) }); }
      if (M.seen.size > 4000) break;
    }
    return { state: M.state(), frames: M.frames.map((e) => inside(e, 0, 0)), masks: M.masks(canvases) };
  };

  document.addEventListener("scroll", () => { M.scrolls += 1; }, { capture: true, passive: true });
  new MutationObserver((records) => { M.mutations += records.length; })
    .observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
})();
