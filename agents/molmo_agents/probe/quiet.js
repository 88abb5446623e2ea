// Only in browsers without a relay: takes speculation rules out of a document before the browser reads them. It reads them in a
// microtask of its own after they were inserted; the observer's comes first. Rules in shadow roots are not seen from here.
(() => {
  const RULES = "script[type=speculationrules i]";
  const strip = (node) => {
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    if (node.matches(RULES)) node.remove();
    else for (const inner of node.querySelectorAll(RULES)) inner.remove();
  };
  new MutationObserver((records) => {
    for (const record of records) {
      strip(record.target);
      record.addedNodes.forEach(strip);
    }
  }).observe(document, { childList: true, subtree: true, attributeFilter: ["type"] });
})();
