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

  // Searches that whoever looks has kept, in this browser alone: the address holds each of them.
  const views = document.querySelector("[data-views]");
  const place = "scorekeeper-views";
  const saved = () => {
    try {
      const read = JSON.parse(localStorage.getItem(place));
      return Array.isArray(read) ? read.filter((text) => typeof text === "string") : [];
    } catch { return []; }
  };
  const keep = (all) => {
    try { localStorage.setItem(place, JSON.stringify(all)); } catch { /* not kept, then */ }
    draw();
  };
  const button = (text, label, then) => {
    const made = document.createElement("button");
    Object.assign(made, { type: "button", textContent: text });
    made.setAttribute("aria-label", label);
    made.addEventListener("click", then);
    return made;
  };
  const draw = () => {
    views.querySelectorAll("[data-kept]").forEach((it) => it.remove());
    const add = (...all) => {
      const one = document.createElement("span");
      one.dataset.kept = "";
      one.append(...all);
      views.append(one);
    };
    const all = saved();
    for (const text of all) {
      const link = document.createElement("a");
      Object.assign(link, { href: "./?" + new URLSearchParams({ q: text }), textContent: text });
      add(link, " ", button("\u00d7", "Forget " + text, () => keep(saved().filter((it) => it !== text))));
    }
    const now = (new URLSearchParams(location.search).get("q") || "").trim();
    if (now && !all.includes(now)) add(button("keep this search", "Keep this search", () => keep([...saved(), now].slice(-20))));
  };
  if (views) draw();

  if (!every) return;

  const toggle = document.querySelector("[data-toggle]");
  const remembered = "scorekeeper-refresh";
  let paused = false;
  try { paused = localStorage.getItem(remembered) === "paused"; } catch { /* not remembered, then */ }
  const tell = () => {
    toggle.hidden = false;
    toggle.textContent = paused ? "Refresh again" : "Pause refreshing";
    toggle.setAttribute("aria-pressed", String(paused));
  };
  toggle.addEventListener("click", () => {
    paused = !paused;
    try { localStorage.setItem(remembered, paused ? "paused" : "on"); } catch { /* as above */ }
    tell();
  });
  tell();

  // By what an element is found again after its place was drawn anew.
  const key = (element) =>
    [element.tagName, element.id, element.name, element.value, element.getAttribute("href")].join("|");

  // What had the focus when its place was drawn without it: a row that was being moved is there again a moment later.
  let lost = null;
  const focused = () => {
    const active = document.activeElement;
    if (!active || active === document.body) return lost;
    const place = active.closest("[data-live]");
    return place && { place: place.id, key: key(active) };
  };
  const focusAgain = (held) => {
    lost = null;
    if (!held || document.activeElement !== document.body) return;
    const all = (within) => [...within.querySelectorAll("a, button, input, select, summary")];
    const places = [document.getElementById(held.place), document].filter(Boolean);
    const again = places.flatMap(all).find((it) => key(it) === held.key);
    if (again) again.focus({ preventScroll: true });
    else lost = held;
  };

  // What is pressed must still be there when it is let go, or that is no click. What came meanwhile is shown after it.
  let pressed = false;
  let waiting = null;
  document.addEventListener("pointerdown", () => { pressed = true; lost = null; });
  ["pointerup", "pointercancel"].forEach((name) => document.addEventListener(name, () => {
    pressed = false;
    setTimeout(() => { if (waiting !== null && !pressed) show(waiting); });
  }));

  // Ticks of rows that a drawing did not have, and since when: a row that was being moved is there again a moment later, and ticked.
  const gone = new Map();
  const backWithin = 10_000;
  const tickAgain = (ticked) => {
    const now = Date.now();
    const there = new Set();
    boxes().forEach((box) => {
      there.add(box.value);
      const since = gone.get(box.value);
      box.checked = ticked.has(box.value) || (since !== undefined && now - since < backWithin);
      gone.delete(box.value);
    });
    ticked.forEach((value) => { if (!there.has(value)) gone.set(value, now); });
  };

  const replace = (place, fresh) => {
    if (place.innerHTML === fresh.innerHTML) return;
    const selection = window.getSelection();
    if (!selection.isCollapsed && selection.containsNode(place, true)) return;
    const active = place.contains(document.activeElement) ? document.activeElement : null;
    if (active && ["text", "search", "number"].includes(active.type)) return;
    const ticked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
    place.innerHTML = fresh.innerHTML;
    tickAgain(ticked);
  };

  const show = (text) => {
    waiting = pressed ? text : null;
    if (pressed) return;
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const held = focused();
    document.querySelectorAll("[data-live]").forEach((place) => {
      const other = fresh.getElementById(place.id);
      if (other) replace(place, other);
    });
    focusAgain(held);
  };
  const isLooked = () => !paused && !document.hidden;

  const ask = async () => {
    if (isLooked()) {
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
        if (answer.ok) show(await answer.text());
      } catch { /* It is asked again. */ }
    }
    setTimeout(ask, every);
  };

  // A stream that ends is asked for again by the browser. Nobody looks: there is none.
  let stream = null;
  const listen = () => {
    if (isLooked() && !stream) {
      stream = new EventSource(location.href);
      stream.addEventListener("message", (event) => show(event.data));
    } else if (!isLooked() && stream) {
      stream.close();
      stream = null;
    }
  };
  if ("pushed" in document.body.dataset) {
    document.addEventListener("visibilitychange", listen);
    toggle.addEventListener("click", listen);
    listen();
  } else {
    setTimeout(ask, every);
  }
})();
