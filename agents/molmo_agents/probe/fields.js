// Form fields: what they hold, where what is typed goes, values that are set.
(() => {
  const M = globalThis.molmo;
  if (!M || M.field) return;
  const D = M.dom;
  const SEGMENT = 8;

  const fieldOf = (e) => (e && D.tag(e) === "label" && e.control ? e.control : e);
  const text = (e) => (e.isContentEditable === true || e === D.body() ? e.innerText : e.value);
  const rect = (e) => M.wholeOf(e);
  const near = (a, b, by) => Math.abs(a - b) <= by;
  const typable = (e) => D.tag(e) === "input" || D.tag(e) === "textarea" || e.isContentEditable === true;

  // The field that typing began in, and those it handed on to.
  const begun = () => {
    const target = fieldOf(M.target);
    if (!M.typed || M.typed.target !== target) { M.typed = { target, chain: [target], last: null }; remember(target); }
    return M.typed;
  };
  const field = (M.field = () => { const { chain } = begun(); return chain[chain.length - 1]; });
  M.beginTyping = () => { M.typed = null; remember(field()); watchLeaving(); return true; };
  // What is typed goes into another element than the one that was pressed.
  M.typeInto = (e) => { M.typed = { target: fieldOf(M.target), chain: [e], last: null }; remember(e); };
  const remember = (e) => { const r = rect(e); M.typed.last = { tag: D.tag(e), type: e.type || "", name: D.attr(e, "name") || "", x: r.left, y: r.top, id: D.attr(e, "id") || "" }; };

  // A page that redraws its form after each key puts another field in the same place.
  const successor = (to) => { const l = M.typed.last, r = rect(to); return l && D.tag(to) === l.tag && (to.type || "") === l.type && (D.attr(to, "name") || "") === l.name && near(r.left, l.x, 3) && near(r.top, l.y, 3); };
  // The element, or the one that a redrawn page shows in its stead, focused or not: in its place, or the only one of its name.
  const shownFor = (e) => {
    const l = M.typed.last;
    if (D.connected(e) || !l) return e;
    const alike = [...M.deep(D.tag(e))].filter((one) => (one.type || "") === l.type && (D.attr(one, "name") || "") === l.name && (D.attr(one, "id") || "") === l.id);
    return alike.find(successor) || (alike.length === 1 && (l.name || l.id) ? alike[0] : e);
  };
  // One value in several boxes (a code, a date, a card number): the box is full, and the next one in the row is an empty one of its kind.
  const segment = (from, to) => {
    if (D.tag(from) !== "input" || D.tag(to) !== "input" || from.type !== to.type || !from.value || to.value) return false;
    const a = rect(from), b = rect(to);
    if (!near(a.top, b.top, 6) || !near(a.height, b.height, 6)) return false;
    const full = from.maxLength > 0 && from.maxLength <= SEGMENT && from.value.length >= from.maxLength && to.maxLength > 0 && to.maxLength <= SEGMENT;
    return full || (near(a.width, b.width, 2) && a.width <= 2.5 * a.height);
  };
  M.follows = (to) => {
    const { chain } = begun(), from = chain[chain.length - 1];
    if (!from) return false;
    if (chain.some((e) => M.contains(e, to))) return true;
    if (!typable(to)) return false;
    if (!D.connected(from)) { if (!successor(to)) return false; chain[chain.length - 1] = to; return true; }
    if (!segment(from, to)) return false;
    chain.push(to);
    remember(to);
    return true;
  };

  const focused = (e) => { const active = D.active(D.root(e)); return active === e || (active instanceof Element && M.contains(active, e) && active.isContentEditable === true); };
  const onward = () => { const e = field(); if (D.connected(e) && focused(e)) return true; const active = M.activeNow(); return Boolean(active) && M.follows(active) && focused(field()); };
  M.typing = () => ({ on: document.hasFocus() && onward(), strayed: M.strayed() });

  M.readField = () => {
    const { chain } = begun();
    const last = field();
    if (!D.connected(last)) onward();
    const e = field(), shown = shownFor(e);
    return { value: M.valueOf(shown), held: chain.map((one) => text(one === e ? shown : one) || "").join(""), focused: D.connected(e) && focused(e), connected: D.connected(e), split: chain.length > 1 };
  };

  // Fields that act when they are left. Not left by itself is one whose page answers what is typed: leaving it would shut a list of
  // suggestions.
  const SUGGESTS = "[list],[role=combobox],[aria-autocomplete],[aria-haspopup],[aria-controls],[aria-owns],[aria-expanded]";
  const pageWords = () => { const body = D.body(); return body ? body.innerText.toLowerCase() : ""; };
  const times = (words) => (words ? pageWords().split(words).length - 1 : 0);
  let watch = null, answered = false, at = null;
  const answers = (record) => {
    const e = record.target, on = field();
    if (record.type === "childList") return [...record.addedNodes].some((n) => n.nodeType === 1);
    return e !== on && e instanceof Element && !M.contains(e, on) && D.tag(e) !== "label";
  };
  const watchLeaving = () => {
    if (watch) watch.disconnect();
    answered = false;
    watch = new MutationObserver((records) => { if (records.some(answers)) answered = true; });
    watch.observe(D.root(field()), { subtree: true, childList: true, attributes: true });
  };
  M.mayLeave = () => { const e = field(); return !answered && D.connected(e) && focused(e) && !begun().chain.slice(1).length && !D.closest(e, SUGGESTS); };
  // `words`: what the field holds, in the page's own writing. `kept`: the page shows it once more than before, where the field is gone
  // or empty: a cell that is a text again, a tag.
  M.leaveField = (words) => { at = { words: words.trim().toLowerCase() }; at.before = times(at.words); field().blur(); return true; };
  M.leftField = () => {
    const e = field(), here = D.connected(e);
    return { here, held: here ? M.readField().held : "", kept: times(at.words) > at.before };
  };

  // What the Enter key would do now: typing may have changed the form's buttons.
  M.enterFacts = () => M.formFacts(field());
  M.chosenNow = (indexes) => { const e = shownFor(field()); return D.connected(e) && D.tag(e) === "select" ? indexes.every((i) => e.options[i] && e.options[i].selected) : null; };

  const select = (e) => {
    if (e.select && D.tag(e) !== "select") return e.select();
    const range = document.createRange(); range.selectNodeContents(e); const s = getSelection(); s.removeAllRanges(); s.addRange(range);
  };
  const toEnd = (e) => {
    if (D.tag(e) === "input" || D.tag(e) === "textarea") {
      try { e.setSelectionRange(e.value.length, e.value.length); return; } catch (error) { /* number and e-mail fields have no selection to set */ }
      e.select();
    } else select(e);
    getSelection().modify("move", "forward", "documentboundary");
    if (e.isContentEditable === true) getSelection().collapseToEnd();
  };
  M.caret = (whole) => { const e = field(); if (whole) select(e); else toEnd(e); return true; };

  // Into the element itself, in one breath with the look at the focus: no frame can take the focus in between.
  M.insert = (words, whole) => {
    if (!onward()) field().focus({ preventScroll: true });
    const e = field();
    if (!D.connected(e) || !focused(e)) return { lost: true };
    if (whole === true) select(e); else if (whole === false) toEnd(e);
    if (words) document.execCommand("insertText", false, words); else if (whole) document.execCommand("delete");
    return { lost: false };
  };

  const tell = (e, ...types) => { for (const type of types) e.dispatchEvent(new Event(type, { bubbles: true, composed: true })); };

  // Date, time, colour and range fields open native pickers that a screenshot cannot be clicked in: set them as values. A value that the
  // field would change or lose is tried on a copy first, so that the old one stays.
  M.setValue = (value) => {
    const e = field(), copy = e.cloneNode(false);
    copy.value = e.type === "datetime-local" ? value.trim().replace(/\s+/, "T") : value.trim();
    const number = e.type === "range" && (value.trim() === "" || Number(copy.value) !== Number(value));
    if (number || (value !== "" && copy.value === "") || (e.type === "color" && copy.value !== value.trim().toLowerCase())) return { refused: true, value: e.value, instead: copy.value };
    e.focus();
    const wanted = copy.value;
    e.value = wanted;
    tell(e, "input", "change");
    return { refused: false, value: e.value, wanted };
  };

  const squeeze = M.clean;
  M.chooseOptions = (wanted) => {
    const e = field();
    const options = [...e.options];
    const found = [];
    for (const w of wanted) {
      const exact = options.filter((o) => squeeze(o.label || o.text) === squeeze(w));
      const loose = options.filter((o) => squeeze(o.label || o.text).toLowerCase() === squeeze(w).toLowerCase());
      const match = exact.length === 1 ? exact[0] : options.find((o) => o.value === w) || exact[0] || loose[0];
      if (!match) return { missing: w, options: options.slice(0, 30).map((o) => squeeze(o.label || o.text)) };
      if (exact.length > 1 && match.value !== w) return { several: w };
      if (match.disabled || (match.parentElement && match.parentElement.disabled)) return { disabled: w };
      found.push(match);
    }
    if (found.length > 1 && !e.multiple) return { single: true };
    e.focus();
    const before = options.filter((o) => o.selected).map((o) => o.index).join();
    for (const o of options) o.selected = found.includes(o);
    const changed = options.filter((o) => o.selected).map((o) => o.index).join() !== before;
    if (changed) tell(e, "input", "change");
    return { chosen: found.map((o) => squeeze(o.label || o.text)), changed, held: found.every((o) => o.selected), indexes: found.map((o) => o.index) };
  };
})();
