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
  let id = "";
  try {
    id = decodeURIComponent(location.hash.slice(1));
  } catch {
    return; // no address of ours
  }
  const target = id && document.getElementById(encodeURIComponent(id)) || id && document.getElementById(id);
  if (!target) return;
  const closed = target.closest("details");
  if (closed) closed.open = true;
  target.scrollIntoView({ block: "center" });
};
window.addEventListener("hashchange", unfold);
unfold();
// The queue is replaced when the server says that it has changed; without this, the page reloads itself now and then.
const queue = document.querySelector("[data-live]");
if (queue) {
  let busy = false;
  const renew = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.pathname, { credentials: "same-origin", redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.status === 403) {
        location.reload(); // signed out, or not theirs to see any more: what is shown here is over
        return;
      }
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById(queue.id);
      const at = document.activeElement && document.activeElement.getAttribute("href");
      if (fresh) queue.replaceChildren(...fresh.childNodes);
      document.title = page.title;
      if (at) {
        const again = [...queue.querySelectorAll("a")].find((link) => link.getAttribute("href") === at);
        if (again) again.focus();
      }
    } catch {
      // The next change, or the next look, tries again.
    } finally {
      busy = false;
    }
  };
  const listen = () => {
    const changes = new EventSource(queue.dataset.live);
    changes.addEventListener("changed", renew);
    changes.addEventListener("error", () => {
      setTimeout(renew, 5000);
      // A browser does not come back by itself after a refusal.
      if (changes.readyState === EventSource.CLOSED) setTimeout(listen, 10000);
    });
  };
  listen();
  document.addEventListener("visibilitychange", renew);
}
