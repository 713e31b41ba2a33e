// Before the first paint: the theme that was chosen in this browser, if any.
"use strict";
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // in a foreign page's frame there may be no storage
}
