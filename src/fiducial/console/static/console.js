"use strict";
// The pages work without this file. It saves keystrokes: `/` goes to the search field.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof Element && event.target.closest("input, textarea, select")) return;
  const field = document.querySelector("input[type=search]");
  if (field) {
    event.preventDefault();
    field.focus();
  }
});
// What an address points to may stand in a closed section.
const unfold = () => {
  const id = decodeURIComponent(location.hash.slice(1));
  const target = id && document.getElementById(encodeURIComponent(id)) || id && document.getElementById(id);
  if (!target) return;
  const closed = target.closest("details");
  if (closed) closed.open = true;
  target.scrollIntoView({ block: "center" });
};
window.addEventListener("hashchange", unfold);
unfold();
