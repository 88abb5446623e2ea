// Runs in the page's own world, on the innermost element: frameworks leave their notes there, out of sight of ours. What it says can only
// make something pressable, never allowed.
function (most) {
  const names = ["onClick", "onMouseDown", "onMouseUp", "onPointerDown", "onPointerUp", "onClickCapture", "onTouchEnd"];
  const told = (e) => {
    for (const key of Object.keys(e)) {
      if (/^__react(Props|EventHandlers)\$/.test(key) && e[key] && names.some((n) => typeof e[key][n] === "function")) return true;
      if (/^(\$\$|__)(click|mousedown|pointerdown|pointerup)$/.test(key) && e[key]) return true;
    }
    return false;
  };
  const delegated = (e) => {
    const found = [], jq = window.jQuery;
    const events = jq && jq._data ? jq._data(e, "events") : null;
    for (const type of ["click", "mousedown", "mouseup", "pointerdown", "pointerup"])
      for (const one of (events && events[type]) || []) if (one.selector) found.push(one.selector);
    return found;
  };
  // Attributes in which libraries that listen far out say what a press does: phx-click, @click, jsaction, data-action, hx-post, data-bs-toggle.
  const HANDLER = /(^|[^a-z])(click|press|tap)$|^(jsaction|hx-(get|post|put|patch|delete)|data-(action|method|remote|(bs-)?(toggle|dismiss)))$/i;
  const chain = [], notes = [], marks = [];
  let react = false;
  for (let n = this; n && chain.length < most; n = n.assignedSlot || n.parentElement || (n.getRootNode() instanceof ShadowRoot ? n.getRootNode().host : null)) {
    chain.push(n);
    marks.push([...n.attributes].some((a) => HANDLER.test(a.name)));
    try { notes.push(told(n)); react = react || Object.keys(n).some((k) => k.startsWith("__react")); } catch (error) { notes.push(false); }
  }
  try {
    for (const root of [...chain, document])
      for (const selector of delegated(root)) chain.forEach((n, i) => { if (n.matches(selector)) notes[i] = true; });
  } catch (error) { /* no jQuery after all */ }
  return { chain: [...chain, document, window], notes: JSON.stringify({ notes, marks, react }) };
}
