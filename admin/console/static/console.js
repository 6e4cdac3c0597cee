// What the pages do besides being read. Nothing here makes HTML of text: texts go in by textContent,
// and a part that is fetched anew was escaped by the server, as the page it belongs to.
"use strict";

const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
const one = (selector, root = document) => root.querySelector(selector);
const lang = document.documentElement.lang;

// Times are the server's, in UTC; the reader's own zone is what they are read in.
const clock = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(lang, { day: "2-digit", month: "short" });
function localTimes(root) {
  const today = day.format(new Date());
  for (const t of all("time[datetime]", root)) {
    const at = new Date(t.dateTime);
    if (isNaN(at)) continue;
    if (!t.title) t.title = t.dateTime;
    t.textContent = (day.format(at) === today ? "" : day.format(at) + " ") + clock.format(at);
  }
}

// The part of the overview that changes: it comes over server-sent events, as the server escaped it, and
// is parsed where nothing of it runs. It stays while it is being read, chosen or pressed. A page that
// nobody looks at lets its connection go: a browser has but six to a server.
function overview(part) {
  let stream = null;
  const busy = () => part.contains(document.activeElement) || part.matches(":active") || !getSelection().isCollapsed;
  const stop = () => { stream?.close(); stream = null; };
  const start = () => {
    stream = new EventSource(part.dataset.overview);
    stream.addEventListener("open", () => part.classList.remove("stale"));
    stream.addEventListener("error", () => {
      part.classList.add("stale");
      if (stream?.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 10000);
    });
    stream.addEventListener("gone", () => { stop(); location.reload(); });
    stream.addEventListener("overview", (event) => {
      if (busy()) return;
      const fresh = new DOMParser().parseFromString(JSON.parse(event.data).html, "text/html");
      localTimes(fresh);
      part.replaceChildren(...fresh.body.childNodes);
    });
  };
  const look = () => document.hidden ? stop() : stream || start();
  document.addEventListener("visibilitychange", look);
  look();
}

// The live list: rows come over server-sent events, newest first.
function live(list) {
  const rows = one("tbody", list), blank = one("template", list);
  const state = one("[data-state]"), pause = one("[data-pause]"), heard = one("[data-heard]");
  const waiting = [], most = 200;
  let paused = false, told = 0, fresh = 0;
  const say = (name) => {
    state.textContent = state.getAttribute("data-say-" + name);
    state.classList.toggle("good", name === "on");
    state.classList.toggle("warn", name !== "on");
  };
  const put = (d) => {
    const row = blank.content.firstElementChild.cloneNode(true);
    for (const cell of all("[data-f]", row)) {
      const value = d[cell.dataset.f] ?? "";
      cell.textContent = value;
      if (cell.dataset.tone) cell.className = "badge " + (["good", "warn", "bad", "calm"].includes(d[cell.dataset.tone]) ? d[cell.dataset.tone] : "calm");
      if (cell.dataset.hide !== undefined) cell.hidden = value === "";
    }
    const time = one("time", row), link = one("a", row);
    time.dateTime = d.at;
    link.href = "/decisions/" + encodeURIComponent(d.id);
    localTimes(row);
    row.classList.add("fresh");
    rows.prepend(row);
    while (rows.children.length > most) rows.lastElementChild.remove();
    const none = one("[data-none]");
    if (none) none.hidden = true;
  };
  // A screen reader is told how many there were, now and then, and not every one of them.
  const announce = () => {
    if (fresh > 0 && Date.now() - told > 5000) {
      heard.textContent = heard.dataset.text.replace("%d", fresh);
      fresh = 0;
      told = Date.now();
    }
  };
  setInterval(announce, 1000);
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    say(paused ? "paused" : "on");
    if (!paused) waiting.splice(0).forEach(put);
  });
  const stream = new EventSource(list.dataset.live);
  stream.addEventListener("open", () => say(paused ? "paused" : "on"));
  // Without an answer the browser comes back by itself; a refusal is for good, and the page says why.
  stream.addEventListener("error", () => {
    say("off");
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 10000);
  });
  stream.addEventListener("gone", () => { stream.close(); location.reload(); });
  stream.addEventListener("decision", (event) => {
    const d = JSON.parse(event.data);
    fresh++;
    if (!paused) return put(d);
    waiting.push(d);
    if (waiting.length > most) waiting.shift();
    state.textContent = state.getAttribute("data-say-paused") + " (" + waiting.length + ")";
  });
}

// The steps of a scheme: shown as far as their kind needs, added, moved and taken away.
function steps(box) {
  const blank = one("#step-blank"), add = one("[data-add-step]");
  let next = all("[data-step]", box).length;
  const shape = (step) => {
    const kind = one("[data-step-kind]", step).value;
    for (const field of all("[data-for]", step)) field.hidden = field.dataset.for !== kind;
  };
  const number = () => all("[data-step]", box).forEach((step, i) => {
    const legend = one("legend", step);
    legend.textContent = legend.textContent.replace(/\d+/, i + 1);
  });
  const ready = (step) => {
    shape(step);
    one("[data-step-kind]", step).addEventListener("change", () => shape(step));
    const tools = one("[data-tools]", step);
    if (!tools) return;
    tools.hidden = false;
    const move = (button, act) => one(button, step).addEventListener("click", () => { act(); number(); });
    move("[data-up]", () => { step.previousElementSibling?.before(step); one("[data-up]", step).focus(); });
    move("[data-down]", () => { step.nextElementSibling?.after(step); one("[data-down]", step).focus(); });
    move("[data-remove]", () => { const near = step.nextElementSibling || step.previousElementSibling || add; step.remove(); (one("select", near) || near).focus(); });
  };
  all("[data-step]", box).forEach(ready);
  if (!add) return;
  add.hidden = false;
  // The empty step at the end is for those without a script.
  const steps = all("[data-step]", box), last = steps[steps.length - 1];
  if (steps.length > 1 && one("[data-step-kind]", last).value === "") last.remove();
  add.addEventListener("click", () => {
    const step = blank.content.firstElementChild.cloneNode(true), n = next++;
    step.id = "f-steps-" + n;
    for (const e of all("[id], [name], [for], [aria-describedby]", step)) {
      for (const attribute of ["id", "name", "for", "aria-describedby"]) {
        if (e.hasAttribute(attribute)) e.setAttribute(attribute, e.getAttribute(attribute).replaceAll("steps.-1.", "steps." + n + "."));
      }
    }
    box.append(step);
    ready(step);
    number();
    one("[data-step-kind]", step).focus();
  });
}

function copier(button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(one(button.dataset.copy).textContent);
    const was = button.textContent;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = was; }, 2000);
  });
}

// A form of which only that part shows which a choice needs.
function chooser(form) {
  const shape = () => {
    const chosen = one("[data-choose]:checked", form)?.value;
    for (const part of all("[data-when]", form)) part.hidden = part.dataset.when !== chosen;
  };
  all("[data-choose]", form).forEach((choice) => choice.addEventListener("change", shape));
  shape();
}

localTimes(document);
all("[data-overview]").forEach(overview);
all("[data-live]").forEach(live);
all("[data-steps]").forEach(steps);
all("[data-copy]").forEach(copier);
all("[data-chooser]").forEach(chooser);
one("#problems")?.focus();
// A link to a field in a closed section opens it.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#f-']");
  const field = link && document.getElementById(link.hash.slice(1));
  if (!field) return;
  event.preventDefault();
  const closed = field.closest("details:not([open])");
  if (closed) closed.open = true;
  field.focus();
});
