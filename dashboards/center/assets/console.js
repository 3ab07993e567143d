// The one script of the pages. The server draws everything; this listens to the event stream, fetches the page anew
// and exchanges what changed. It promises that no row moves under the cursor, that focus and typed text survive, and
// that the screen says so within 15 s when the center can no longer be heard. Without it every form still works.

const body = document.body;
const text = body.dataset;

// A refused form is answered under the form's address; the page it shows has its own, which can be loaded again.
const address = text.address;
if (address && location.pathname !== address.split("?")[0]) history.replaceState(null, "", address);

let stream = null;

// ---- Is the center still there? ------------------------------------------------------------------------------

// Quiet for this long: ask. Nothing heard for LATE: say how long. For GONE: the screen no longer shows the truth.
const ASK_MS = 4000;
const LATE_MS = 7000;
const GONE_MS = 12000;
const ASK_TIMEOUT_MS = 4000;

const pill = document.getElementById("link-state");
const banner = document.getElementById("link-banner");
let heardAt = performance.now();
// Last time that what stands here was known to be the latest, and since when no event can arrive.
let freshAt = heardAt;
let deafSince = heardAt;
let everHeard = false;
let asking = false;

function heard() {
  heardAt = performance.now();
  everHeard = true;
  showLink();
}

// While events can arrive, hearing the center at all means that nothing was missed.
function deafFor() {
  if (stream?.readyState === EventSource.OPEN) {
    freshAt = deafSince = heardAt;
    return 0;
  }
  return performance.now() - deafSince;
}

function showLink() {
  if (!pill) return;
  const quiet = performance.now() - heardAt;
  const deaf = deafFor();
  const seconds = Math.round((performance.now() - Math.min(heardAt, freshAt)) / 1000);
  let state = "live";
  let words = text.textLive;
  if (quiet >= GONE_MS) [state, words] = ["disconnected", text.textDisconnected];
  else if (quiet >= LATE_MS || (everHeard && deaf >= LATE_MS)) [state, words] = ["delayed", text.textDelayed.replace("{n}", seconds)];
  else if (!everHeard) [state, words] = ["connecting", text.textConnecting];
  if (pill.dataset.link !== state || state === "delayed") {
    pill.dataset.link = state;
    pill.querySelector(".link-text").textContent = words;
  }
  body.classList.toggle("is-stale", state === "disconnected");
  if (banner) {
    banner.hidden = state !== "disconnected" && state !== "delayed";
    banner.classList.toggle("banner-delayed", state === "delayed");
    const said = state === "delayed" ? text.textBannerDelayed.replace("{n}", seconds) : text.textBanner;
    if (!banner.hidden && banner.textContent !== said) banner.textContent = said;
  }
}

// A cut cable closes no connection: whoever waits for an error waits for minutes. So ask.
async function ask() {
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    if (answer.ok) {
      heard();
      // The center is there but its stream is not: look by asking.
      if (stream?.readyState !== EventSource.OPEN) schedule(0);
    }
  } catch {
    // Silence is what showLink counts.
  } finally {
    asking = false;
  }
}

// ---- Events: what changed, and then the page anew --------------------------------------------------------------

// At most so many drawings a second, however many events come.
const COALESCE_MS = 200;
// Ages and remaining times move without events.
const REFRESH_MS = 30000;

let due = 0;
let fetching = false;
let again = false;
let retry = 0;

function schedule(delay = COALESCE_MS) {
  if (!due) due = setTimeout(refresh, delay);
}

async function refresh() {
  due = 0;
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch(address, { cache: "no-store", headers: { "X-Live": "1" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); return; }
    if (answer.ok) {
      exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
      freshAt = performance.now();
      heard();
    }
  } catch {
    // The link state says it; the next event or the next beat tries again.
  } finally {
    fetching = false;
    if (again) { again = false; schedule(); }
  }
}

function listen() {
  stream = new EventSource(text.events);
  const changed = () => { heard(); schedule(); };
  stream.onopen = () => { retry = 0; heard(); };
  for (const kind of ["snapshot", "alert", "case", "digest", "reset"]) stream.addEventListener(kind, changed);
  stream.addEventListener("heartbeat", heard);
  stream.onerror = () => {
    showLink();
    // The browser tries again by itself unless the server refused; then we do, ever more slowly.
    if (stream.readyState === EventSource.CLOSED) {
      retry = Math.min(retry + 1, 5);
      setTimeout(listen, 1000 * retry);
      // It may have refused because the session is over: the page's answer says so.
      schedule(0);
    }
  };
}

// ---- Exchanging without disturbing -----------------------------------------------------------------------------

function exchange(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = old.id && fresh.getElementById(old.id);
    if (!next || next.isEqualNode(old)) continue;
    if (old.hasAttribute("data-hold") && busy(old)) { movedOn(old, next); continue; }
    keepingFocus(() => old.replaceWith(document.importNode(next, true)));
  }
  const list = document.querySelector("[data-frozen]");
  if (list) mergeRows(list, fresh.getElementById(list.id));
  wire();
}

// Somebody is writing here: what they typed stays, and they are told.
function busy(region) {
  if (region.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) return true;
  return [...region.querySelectorAll("textarea, input:not([type=hidden], [type=radio])")].some((field) => field.value !== field.defaultValue);
}

function movedOn(old, next) {
  const seen = (region) => region.querySelector("input[name=seen]")?.value;
  const notice = document.getElementById("moved-on");
  if (notice && seen(old) !== seen(next)) notice.hidden = false;
}

function keepingFocus(change) {
  const active = document.activeElement;
  const key = active?.closest("[data-row-key]")?.dataset.rowKey;
  const id = active?.id;
  const open = [...document.querySelectorAll("details[open]")].map((d) => [d.closest("[id]")?.id, d.className]);
  change();
  for (const [owner, name] of open) {
    const again = owner && document.getElementById(owner)?.querySelector("details." + CSS.escape(name));
    if (again) again.open = true;
  }
  if (document.activeElement && document.activeElement !== body) return;
  if (key) focusRow(document.querySelector(`[data-row-key="${CSS.escape(key)}"]`));
  else if (id) document.getElementById(id)?.focus({ preventScroll: true });
}

// Rows that are here stay where they are, with their new content; new ones wait behind the "n new" bar; ones that
// are gone stay, marked as over, until the bar is used or the page is loaded again.
let waitingRows = [];

function mergeRows(list, freshList) {
  if (!freshList) return;
  const tbody = list.tBodies[0];
  const fresh = new Map([...freshList.tBodies[0].rows].map((row) => [row.dataset.rowKey, row]));
  const here = new Map([...tbody.rows].map((row) => [row.dataset.rowKey, row]));
  for (const [key, row] of here) {
    const next = fresh.get(key);
    if (!next) { row.classList.add("row-over"); row.querySelector("[data-acknowledge]")?.remove(); continue; }
    if (!next.isEqualNode(row)) exchangeRow(row, next);
  }
  waitingRows = [...fresh.values()].filter((row) => !here.has(row.dataset.rowKey));
  // An empty list has nothing that could move, and a screen that nobody touches shows what arrives at its top.
  const untouched = !list.matches(":hover") && !list.contains(document.activeElement) && window.scrollY < 40;
  if (here.size === 0 || untouched) showWaiting();
  else sayWaiting();
}

function exchangeRow(row, next) {
  const focused = row.contains(document.activeElement) ? document.activeElement : null;
  const wasButton = focused?.matches("[data-acknowledge]");
  const chosen = row.classList.contains("row-focus");
  row.className = next.className;
  row.classList.toggle("row-focus", chosen);
  for (const { name, value } of next.attributes) if (name !== "class") row.setAttribute(name, value);
  row.replaceChildren(...[...document.importNode(next, true).childNodes]);
  if (focused) {
    const target = (wasButton && row.querySelector("[data-acknowledge]")) || row.querySelector(".row-link");
    target?.focus({ preventScroll: true });
  }
}

function sayWaiting() {
  const bar = document.getElementById("new-alerts");
  if (!bar) return;
  bar.hidden = waitingRows.length === 0;
  bar.textContent = bar.dataset.text.replace("{n}", waitingRows.length);
}

function showWaiting() {
  const tbody = document.querySelector("[data-frozen]")?.tBodies[0];
  const rows = waitingRows.map((row) => document.importNode(row, true));
  for (const row of rows) row.classList.add("row-new");
  tbody?.prepend(...rows);
  waitingRows = [];
  sayWaiting();
  const empty = document.getElementById("alerts-empty");
  if (empty && tbody?.rows.length) empty.hidden = true;
}

// ---- Keyboard --------------------------------------------------------------------------------------------------

// No single letters: they clash with Chinese input. Arrows, Enter and Alt+Enter only, never during a composition.
function rows() {
  return [...document.querySelectorAll("[data-rows] .row")];
}

function focusRow(row) {
  if (!row) return;
  (row.querySelector(".row-link") ?? row).focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

document.addEventListener("focusin", (event) => {
  for (const row of document.querySelectorAll(".row-focus")) row.classList.remove("row-focus");
  event.target.closest?.("[data-rows] .row")?.classList.add("row-focus");
});

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229 || event.ctrlKey || event.metaKey) return;
  if (event.target.closest("input, textarea, select, summary")) return;
  const row = event.target.closest?.("[data-rows] .row");
  if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !event.altKey && !event.shiftKey) {
    const all = rows();
    if (!all.length) return;
    const step = event.key === "ArrowDown" ? 1 : -1;
    const index = row ? all.indexOf(row) + step : step > 0 ? 0 : all.length - 1;
    event.preventDefault();
    focusRow(all[Math.max(0, Math.min(all.length - 1, index))]);
  } else if (event.key === "Enter" && event.altKey && row) {
    const button = row.querySelector("[data-acknowledge]");
    if (button) { event.preventDefault(); button.form.requestSubmit(button); }
  }
});

// ---- Forms -----------------------------------------------------------------------------------------------------

// An acknowledgement from the list stays on the list: the answer is the list's next state.
async function submitQuietly(form) {
  const said = document.getElementById("said");
  const row = form.closest(".row");
  const button = form.querySelector("button");
  if (button) button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-Live": "1" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.ok) {
      said.textContent = "";
      exchange(page);
    } else {
      said.textContent = page.getElementById("refusal")?.textContent ?? "";
      await refresh();
    }
    heard();
  } catch {
    said.textContent = text.textBanner;
    showLink();
  } finally {
    if (button?.isConnected) button.disabled = false;
    if (row?.isConnected && document.activeElement === body) focusRow(row);
  }
}

// A submission with photos: what was written stays on the page when the network does not carry it.
async function submitRectification(form) {
  const said = form.querySelector("#said");
  const button = form.querySelector("#rectify-submit");
  button.disabled = true;
  said.textContent = form.dataset.textSending;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
    if (answer.ok) { location.assign(answer.url); return; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    said.textContent = page.getElementById("refusal")?.textContent ?? form.dataset.textFailed;
  } catch {
    said.textContent = form.dataset.textFailed;
  }
  button.disabled = false;
}

function showPhotos(input) {
  const form = input.form;
  const said = form.querySelector("#said");
  const thumbs = form.querySelector("#thumbs");
  const files = [...input.files];
  const refuse = (words) => { input.value = ""; thumbs.replaceChildren(); said.textContent = words; };
  if (files.length > Number(form.dataset.photosMax)) return refuse(form.dataset.textMany);
  if (files.some((file) => file.size > Number(form.dataset.photoBytes))) return refuse(form.dataset.textLarge);
  said.textContent = files.length ? form.dataset.textCount.replace("{n}", files.length) : "";
  for (const old of thumbs.querySelectorAll("img")) URL.revokeObjectURL(old.src);
  thumbs.replaceChildren(...files.map((file) => {
    const image = new Image();
    image.src = URL.createObjectURL(file);
    image.alt = file.name;
    return image;
  }));
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-quiet]")) { event.preventDefault(); submitQuietly(form); }
  else if (form.matches("[data-submit]")) { event.preventDefault(); submitRectification(form); }
});

document.addEventListener("input", (event) => {
  for (const place of document.querySelectorAll(`[data-preview-of="${CSS.escape(event.target.id || "-")}"]`)) place.textContent = event.target.value.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)$/, "$1 $2");
});

document.addEventListener("change", (event) => {
  if (event.target.id === "rectify-photo") showPhotos(event.target);
});

document.addEventListener("click", (event) => {
  if (event.target.id === "new-alerts") showWaiting();
});

function wire() {
  sayWaiting();
}

// ---- Begin -----------------------------------------------------------------------------------------------------

if (text.events) {
  listen();
  setInterval(() => { if (performance.now() - heardAt >= ASK_MS) ask(); showLink(); }, 1000);
  setInterval(() => schedule(0), REFRESH_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) schedule(0); });
}
