// What the pages do beyond links and forms. Nothing from outside is ever made into markup here.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const root = document.documentElement;

  // Times are sent as UTC, and shown as people's clocks say.
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  function localTimes(scope) {
    for (const each of scope.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(each.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      each.title = each.textContent;
      each.textContent = format.format(at);
      each.dataset.local = "1";
    }
  }
  function countDown() {
    for (const each of document.querySelectorAll("[data-countdown]")) {
      const left = Math.floor((new Date(each.dataset.countdown) - Date.now()) / 1000);
      const [d, h, m, s] = [Math.floor(left / 86400), Math.floor(left / 3600) % 24, Math.floor(left / 60) % 60, left % 60];
      each.textContent = left <= 0 ? "(over)" : d ? `(${d} d ${h} h)` : h ? `(${h} h ${m} min)` : `(${m} min ${s} s)`;
    }
  }
  localTimes(document);
  countDown();
  setInterval(countDown, 1000);
  document.body.addEventListener("htmx:afterSwap", (event) => localTimes(event.target.parentNode ?? document));
  document.body.addEventListener("htmx:sseMessage", () => {
    localTimes(document);
    if ($('[data-replay-state="done"], [data-replay-state="cancelled"]')) $("[data-while-running]")?.remove();
  });

  // On a phone the navigation is one row that scrolls.
  $(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // A portal's own colour, with a text colour that can be read on it.
  const color = document.body.dataset.color;
  if (color) {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const part = parseInt(color.slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    root.style.setProperty("--brand", color);
    root.style.setProperty("--on-brand", 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff");
  }

  $("#theme")?.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // it lasts for this page then
    }
    document.dispatchEvent(new Event("theme"));
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = $(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren($(button.dataset.copy));
    }
  });

  // Questions before what cannot be taken back (a foreign frame has no confirm()).
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.ask || form.dataset.answered) return;
    event.preventDefault();
    const dialog = document.createElement("dialog");
    const words = document.createElement("p");
    words.textContent = form.dataset.ask;
    const [yes, no] = ["Yes", "No"].map((label) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button";
      button.textContent = label;
      return button;
    });
    yes.classList.add("primary");
    yes.addEventListener("click", () => {
      form.dataset.answered = "1";
      dialog.close();
      form.requestSubmit();
    });
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    dialog.append(words, yes, no);
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
  document.addEventListener("submit", (event) => {
    if (!event.defaultPrevented) event.target.classList.add("sending");
  });
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field.matches("[data-submit]")) field.form.requestSubmit();
    if (field.matches("[data-reload]")) location.assign(field.dataset.reload + encodeURIComponent(field.value));
  });
  // A filter's address names only what it filters by.
  document.addEventListener("formdata", (event) => {
    if (event.target.id !== "filter") return;
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });

  let waitsForPage = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    if (waitsForPage) {
      waitsForPage = false;
      const link = [...document.querySelectorAll("nav [data-key]")].find((each) => each.dataset.key === event.key);
      if (link) link.click();
    } else if (event.key === "g") {
      waitsForPage = true;
    } else if (event.key === "/" && $("[data-search]")) {
      event.preventDefault();
      $("[data-search]").focus();
    } else if (event.key === "?") {
      $("#keys").showModal();
    }
  });

  // The live tail: rows come ready from the server for the whole tenant; each page keeps those that fit its filter.
  const table = $("#deliveries");
  const tail = $("#tail");
  let source = null;
  const wanted = new URLSearchParams(location.search);
  function fits(row) {
    const { state, endpoint, type, event, status, result, replay, id } = row.dataset;
    const exact = { endpoint, event, result, replay };
    if (Object.keys(exact).some((name) => wanted.get(name) && wanted.get(name) !== exact[name])) return false;
    if (wanted.get("state") && !wanted.get("state").split(",").includes(state)) return false;
    if (wanted.get("id") && ![id, event].includes(wanted.get("id"))) return false;
    const pattern = wanted.get("type") ?? "";
    if (pattern.endsWith("*") ? !type.startsWith(pattern.slice(0, -1)) : pattern && pattern !== type) return false;
    const asked = (wanted.get("status") ?? "").toLowerCase();
    return !asked || (asked.endsWith("xx") ? status[0] === asked[0] : status === asked);
  }
  function take(html) {
    const holder = document.createElement("template");
    holder.innerHTML = `<table><tbody>${html}</tbody></table>`; // made by our own template, which escapes everything
    for (const row of holder.content.querySelectorAll("tr")) {
      const old = document.querySelector(`tr[data-id="${CSS.escape(row.dataset.id)}"]`);
      if (!fits(row)) old?.remove();
      else if (old) old.replaceWith(row);
      else $("#tail-rows").prepend(row);
      row.classList.add("fresh");
    }
    while ($("#tail-rows").rows.length > 200) $("#tail-rows").lastElementChild.remove();
    $("#nothing")?.remove();
    localTimes(table);
  }
  function listen() {
    source?.close();
    source = null;
    if (!tail.checked || document.hidden) return;
    source = new EventSource(table.dataset.source);
    source.addEventListener("rows", (event) => take(event.data));
    source.addEventListener("resync", () => location.reload());
  }
  if (table && tail) {
    tail.addEventListener("change", listen);
    document.addEventListener("visibilitychange", listen);
  }
})();
