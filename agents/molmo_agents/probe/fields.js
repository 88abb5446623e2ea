// Form fields, and how to find an element again without a model.
(() => {
  const M = globalThis.molmo;
  if (!M || M.field) return;

  const field = (M.field = () => {
    let e = M.target;
    if (e && e.localName === "label" && e.control) e = e.control;
    return e;
  });

  // Hold on to the element that somebody is being asked about, to see afterwards whether it is still the one.
  M.keep = () => { M.kept = M.target; return true; };
  M.isKept = () => Boolean(M.kept) && M.kept === M.target && M.kept.isConnected;

  // Several elements of one picture: where each is now, and whether what lies at a point is the one meant.
  M.holdNone = () => { M.held = []; return true; };
  M.hold = (x, y) => { const r = M.target.getBoundingClientRect(); M.held.push([M.target, x - r.left, y - r.top]); return M.held.length - 1; };
  M.heldAt = (i) => { const [e, dx, dy] = M.held[i]; if (!e.isConnected) return null; const r = e.getBoundingClientRect(); return { x: r.left + dx, y: r.top + dy }; };
  M.isHeld = (i) => Boolean(M.held) && M.held[i] !== undefined && M.held[i][0] === M.target;

  M.readField = () => {
    const e = field();
    return { value: M.valueOf(e), focused: e.getRootNode().activeElement === e || document.activeElement === e, text: e.isContentEditable ? e.innerText : null, connected: e.isConnected };
  };

  M.selectAll = () => {
    const e = field();
    if (e.select) e.select();
    else { const range = document.createRange(); range.selectNodeContents(e); const s = getSelection(); s.removeAllRanges(); s.addRange(range); }
    return true;
  };

  const tell = (e, ...types) => { for (const type of types) e.dispatchEvent(new Event(type, { bubbles: true, composed: true })); };

  // Date, time, colour and range fields open native pickers that a screenshot cannot be clicked in: set them as values.
  M.setValue = (value) => {
    const e = field();
    e.focus();
    e.value = value;
    tell(e, "input", "change");
    return { value: e.value };
  };

  const squeeze = (text) => (text || "").replace(/\s+/g, " ").trim();
  M.chooseOptions = (wanted) => {
    const e = field();
    const options = [...e.options];
    const found = [];
    for (const w of wanted) {
      const match = options.find((o) => squeeze(o.label || o.text) === squeeze(w) || o.value === w)
        || options.find((o) => squeeze(o.label || o.text).toLowerCase() === squeeze(w).toLowerCase());
      if (!match) return { missing: w, options: options.slice(0, 30).map((o) => squeeze(o.label || o.text)) };
      if (match.disabled || (match.parentElement && match.parentElement.disabled)) return { disabled: w };
      found.push(match);
    }
    if (found.length > 1 && !e.multiple) return { single: true };
    e.focus();
    const before = options.filter((o) => o.selected).map((o) => o.index).join();
    for (const o of options) o.selected = found.includes(o);
    const changed = options.filter((o) => o.selected).map((o) => o.index).join() !== before;
    if (changed) tell(e, "input", "change");
    return { chosen: found.map((o) => squeeze(o.label || o.text)), changed, held: found.every((o) => o.selected) };
  };

  const attribute = (name, value) => `[${name}=${JSON.stringify(value)}]`;
  // Generated names (":r1:", "css-1x2y3z", long digits) do not survive the next build or visit.
  const lasting = (id) => id && id.length < 50 && !/\d{4,}|^:|--|[0-9a-f]{8,}|^(ember|ext-|radix|mui-|react|headlessui)/i.test(id);
  M.selectors = (e) => {
    const found = [];
    const tag = e.localName;
    for (const name of ["data-testid", "data-test", "data-qa", "data-cy"]) if (e.getAttribute(name)) found.push(attribute(name, e.getAttribute(name)));
    if (lasting(e.id)) found.push("#" + CSS.escape(e.id));
    if (e.getAttribute("name")) found.push(tag + attribute("name", e.getAttribute("name")));
    if (e.getAttribute("aria-label")) found.push(tag + attribute("aria-label", e.getAttribute("aria-label")));
    if (tag === "a" && e.getAttribute("href") && !e.getAttribute("href").startsWith("javascript")) found.push("a" + attribute("href", e.getAttribute("href")));
    if (tag === "iframe" || tag === "frame") { if (e.title) found.push(tag + attribute("title", e.title)); if (e.getAttribute("src")) found.push(tag + attribute("src", e.getAttribute("src"))); found.push(tag); }
    const all = (s) => [...M.deep(s)].length;
    return found.filter((s) => { try { return all(s) === 1; } catch (error) { return false; } });
  };
  M.locator = () => {
    const e = M.target, root = e.getRootNode();
    // No selector reaches into a closed shadow root.
    for (let r = root; r instanceof ShadowRoot; r = r.host.getRootNode()) if (r.mode === "closed") return null;
    const css = M.selectors(e)[0] || "";
    const role = M.roleOf(e), name = M.nameOf(e, "native");
    let alike = 0;
    if (role && name && role !== "label") for (const other of M.deep("*")) if (M.roleOf(other) === role && M.nameOf(other, "native") === name) alike += 1;
    return { css, role: alike === 1 ? role : "", name: alike === 1 ? name : "" };
  };
})();
