// What the page does beyond reading: keys, what changed, and times that go on. Nothing here writes to taut.
"use strict";

(() => {
  const $ = (id) => document.getElementById(id);
  const typing = (e) => e.target.matches("input, select, textarea, [contenteditable]");

  // Times --------------------------------------------------------------------------------------------------

  const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];

  function ago(iso) {
    const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
    for (const [unit, length] of UNITS) if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
    return `${Math.floor(seconds)} s`;
  }

  function tick() {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = ago(time.dateTime);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // The row that keys act on -----------------------------------------------------------------------------------

  const rows = () => [...document.querySelectorAll(".row, .tile, .dots a, [data-row]")];
  const link = (row) => (row.matches("a") ? row : row.querySelector("a"));
  let at = "";

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.classList.contains("at"));
    const next = all[Math.min(all.length - 1, Math.max(0, now < 0 ? (step > 0 ? 0 : all.length - 1) : now + step))];
    all.forEach((row) => row.classList.toggle("at", row === next));
    at = next.id;
    link(next)?.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  const picked = new Set();

  function pick() {
    const row = document.querySelector(".row.at");
    if (!row) return;
    const key = row.id.slice(2);
    if (!picked.delete(key)) picked.add(key);
    row.classList.toggle("picked", picked.has(key));
    tell();
  }

  function step(by) {
    const changes = [...document.querySelectorAll(".hunk .add, .hunk .del")].filter(
      (line) => !line.previousElementSibling?.matches(".add, .del"));
    if (!changes.length) return;
    const now = changes.findIndex((line) => line.classList.contains("at"));
    const next = changes[(now + by + changes.length) % changes.length];
    changes.forEach((line) => line.classList.toggle("at", line === next));
    next.scrollIntoView({ block: "center" });
  }

  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || $("keys")?.open) return;
    const search = $("q");
    if (e.key === "Escape" && e.target === search) {
      if (search.value) {
        search.value = "";
        search.dispatchEvent(new Event("input", { bubbles: true }));
      } else search.blur();
      e.preventDefault();
      return;
    }
    if (typing(e)) return;
    const act = {
      "/": () => search?.focus(),
      j: () => move(1),
      k: () => move(-1),
      x: pick,
      n: () => step(1),
      p: () => step(-1),
      "?": () => $("keys")?.showModal(),
      Escape: () => { picked.clear(); document.querySelectorAll(".picked").forEach((r) => r.classList.remove("picked")); tell(); },
    }[e.key];
    if (act) { e.preventDefault(); act(); }
  });

  document.addEventListener("focusin", (e) => {
    const row = e.target.closest?.(".row");
    if (!row || row.classList.contains("at")) return;
    document.querySelectorAll(".row.at").forEach((other) => other.classList.remove("at"));
    row.classList.add("at");
    at = row.id;
  });

  // What changed ---------------------------------------------------------------------------------------------------

  let source = null;
  let last = "";
  let moved = 0;
  let goes = false;

  function tell() {
    const pill = $("pill");
    if (!pill) return;
    pill.hidden = !picked.size && !moved;
    pill.textContent = picked.size
      ? `${picked.size} picked, show only these`
      : `${moved} changed, ${goes ? "load again" : "sort again"}`;
  }

  function again() {
    const board = $("board");
    if (picked.size) {
      location.assign(`/?q=${encodeURIComponent("app:" + [...picked].join(","))}`);
    } else if (board && !goes) {
      moved = 0;
      tell();
      window.htmx.ajax("GET", board.dataset.address, { target: "#board", swap: "outerHTML" });
    } else location.reload();
  }

  function put(old, html) {
    const box = document.createElement("template");
    box.innerHTML = `<table><tbody>${html}</tbody></table>`;
    const fresh = box.content.querySelector("tr");
    if (!fresh) return;
    if (fresh.dataset.state !== old.dataset.state) moved += 1;
    // Cells change, the row stays: what is focused, picked or pointed at is not taken away.
    old.dataset.state = fresh.dataset.state;
    old.classList.remove("loud", "quiet", "changed");
    old.classList.add(fresh.classList.contains("loud") ? "loud" : "quiet");
    const held = old.contains(document.activeElement) ? document.activeElement : null;
    [...old.cells].forEach((cell, n) => {
      const next = fresh.cells[n];
      if (!next || cell.innerHTML === next.innerHTML) return;
      if (held && cell.contains(held)) {
        const mark = cell.querySelector(".mark");
        const other = next.querySelector(".mark");
        if (mark && other) mark.replaceWith(other);
      } else cell.replaceChildren(...next.childNodes);
      cell.title = next.title;
    });
    void old.offsetWidth;
    old.classList.add("changed");
  }

  function onFleet(told) {
    for (const row of told.rows) {
      const old = $(row.id);
      if (old) put(old, row.html);
    }
    for (const id of told.gone) {
      const old = $(id);
      if (old && !old.classList.contains("gone")) moved += 1;
      old?.classList.add("gone");
    }
    moved += told.others;
    for (const [name, count] of Object.entries(told.counts)) {
      const place = document.querySelector(`[data-count="${name}"]`);
      if (place) place.textContent = count;
    }
    for (const [name, count] of Object.entries(told.nav)) {
      const place = document.querySelector(`[data-nav="${name}"]`);
      if (place) place.textContent = count;
    }
    const lede = $("lede");
    if (lede) {
      const bold = document.createElement("b");
      bold.textContent = told.lede[0];
      lede.replaceChildren(bold, ` ${told.lede[1]}`);
    }
    tell();
  }

  function onApp() {
    const now = $("now");
    if (now && !now.contains(document.activeElement)) window.htmx.ajax("GET", now.dataset.address, { target: "#now", swap: "outerHTML" });
    const pill = $("pill");
    if (pill && !pill.dataset.now) {
      moved += 1;
      goes = true;
      pill.hidden = false;
      pill.textContent = "It changed, load again";
    }
  }

  function state(on, text) {
    const live = $("live");
    if (!live) return;
    live.dataset.on = on;
    live.textContent = text;
  }

  function listen() {
    const address = $("board")?.dataset.live || $("main")?.dataset.live;
    stop();
    if (!address || document.hidden) return;
    const url = new URL(address, location.href);
    if (last) url.searchParams.set("since", last);
    source = new EventSource(url);
    const heard = (act) => (e) => {
      last = e.lastEventId || last;
      act(e.data ? JSON.parse(e.data) : {});
      state("yes", "Live");
    };
    source.onopen = () => state("yes", "Live");
    source.onerror = () => state("no", `Not live since ${new Date().toTimeString().slice(0, 5)}`);
    source.addEventListener("fleet", heard(onFleet));
    source.addEventListener("app", heard(onApp));
  }

  function stop() {
    source?.close();
    source = null;
  }

  // A tab in the background does not listen; it catches up once, from what it heard last.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  window.addEventListener("pagehide", stop);

  document.addEventListener("htmx:afterSettle", (e) => {
    tick();
    if (e.target.id !== "board" && !e.detail.elt?.querySelector?.("#board") && e.detail.target?.id !== "board") return;
    moved = 0;
    tell();
    for (const key of picked) $(`r:${key}`)?.classList.add("picked");
    if (at) $(at)?.classList.add("at");
    const other = $("other-look");
    const board = $("board");
    if (other && board) {
      const to = new URL(board.dataset.address, location.href);
      const tiles = to.searchParams.get("as") === "tiles";
      if (tiles) to.searchParams.delete("as");
      else to.searchParams.set("as", "tiles");
      other.href = to.pathname + to.search;
    }
    listen();
  });

  $("pill")?.addEventListener("click", again);
  tick();
  setInterval(tick, 10000);
  listen();
})();
