// The page works without this. With it, what is marked `data-live` is read again while somebody looks, and nothing that is being
// used is taken away: focus, selected text, ticked rows and what is being typed stay.
"use strict";
(() => {
  const every = Number(document.body.dataset.refresh) * 1000;
  const all = document.querySelector("[data-all]");
  const boxes = () => [...document.querySelectorAll("input[name=id]")];
  if (all) {
    all.hidden = false;
    all.addEventListener("click", () => {
      const tick = boxes().some((box) => !box.checked);
      boxes().forEach((box) => { box.checked = tick; });
    });
  }
  if (!every) return;

  const toggle = document.querySelector("[data-toggle]");
  const remembered = "scorekeeper-refresh";
  let paused = false;
  try { paused = localStorage.getItem(remembered) === "paused"; } catch { /* not remembered, then */ }
  const show = () => {
    toggle.hidden = false;
    toggle.textContent = paused ? "Refresh again" : "Pause refreshing";
    toggle.setAttribute("aria-pressed", String(paused));
  };
  toggle.addEventListener("click", () => {
    paused = !paused;
    try { localStorage.setItem(remembered, paused ? "paused" : "on"); } catch { /* as above */ }
    show();
  });
  show();

  // By what an element is found again after its place was drawn anew.
  const key = (element) =>
    element && [element.tagName, element.id, element.name, element.value, element.getAttribute("href")].join("|");

  const replace = (place, fresh) => {
    if (place.innerHTML === fresh.innerHTML) return;
    const selection = window.getSelection();
    if (!selection.isCollapsed && selection.containsNode(place, true)) return;
    const active = place.contains(document.activeElement) ? document.activeElement : null;
    if (active && ["text", "search", "number"].includes(active.type)) return;
    const focused = key(active);
    const ticked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
    place.innerHTML = fresh.innerHTML;
    boxes().forEach((box) => { box.checked = ticked.has(box.value); });
    if (focused) {
      const again = [...place.querySelectorAll("a, button, input, select, summary")].find((it) => key(it) === focused);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const refresh = async () => {
    if (!paused && !document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          document.querySelectorAll("[data-live]").forEach((place) => {
            const other = fresh.getElementById(place.id);
            if (other) replace(place, other);
          });
        }
      } catch { /* It is asked again. */ }
    }
    setTimeout(refresh, every);
  };
  setTimeout(refresh, every);
})();
