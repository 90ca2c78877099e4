"use strict";

// Everything that comes from the server is set as text, never as markup.

// The shortest that has room for what is known is shown.
const WINDOWS = [60_000, 120_000, 300_000];
const AXIS = 13;
const GAP = 3_000;
const DENSE = 48;
const MOST_PIPS = 20;
const SVG = "http://www.w3.org/2000/svg";

const STATES = {
  idle: ["Idle", ""],
  active: ["Active", "▶"],
  held: ["Held", "H"],
  idle_in_transaction: ["In transaction", "T"],
  resetting: ["Resetting", "R"],
  ending: ["Ending", "×"],
  none: ["Not open", ""],
};

// [what it says, whether it is bad]
const NOTES = {
  timeouts: [(n) => `${count(n, "request")} gave up waiting for a session`, true],
  refusals: [(n) => `${count(n, "request")} refused at once: the queue was full, or no session could be opened`, true],
  opened: [(n) => `${count(n, "session")} opened`, false],
  cancels: [(n) => `${count(n, "abandoned statement")} cancelled on the server`, false],
  retries: [(n) => `${count(n, "transaction")} run again after a conflict`, false],
  renewals: [(n) => `${count(n, "statement")} prepared anew after a change of the schema`, false],
  connection_lost: [(n) => `${count(n, "session")} ended: the connection was lost`, true],
  statements_dropped: [(n) => `${count(n, "session")} ended: prepared statements were dropped`, false],
  read_only: [(n) => `${count(n, "session")} ended: the server takes no writes any more`, true],
  idle_timeout: [(n) => `${count(n, "session")} ended: idle for long`, false],
  max_lifetime: [(n) => `${count(n, "session")} ended: old enough to be replaced`, false],
  check_failed: [(n) => `${count(n, "session")} ended: no answer to a check`, true],
  reset_failed: [(n) => `${count(n, "session")} ended: could not be cleaned`, true],
  unusable: [(n) => `${count(n, "session")} ended: an abandoned statement did not stop`, true],
  dropped: [(n) => `${count(n, "session")} ended: the task that had it was cut off`, true],
  refused: [(n) => `${count(n, "session")} ended: a hook refused it`, true],
  renewed: [(n) => `${count(n, "session")} ended: the application asked for others`, false],
  closed: [(n) => `${count(n, "session")} ended: the pool was closed`, false],
};

// Those that name a line, once a threshold of the configuration is passed.
const WARNINGS = {
  slow_statement: (note) => `A statement took ${duration(note.duration)}`,
  slow_acquire: (note) => `A request waits for ${duration(note.duration)}`,
  long_hold: (note) => `A session is held for ${duration(note.duration)}`,
  repeated_statement: (note) => `A request runs one statement ${note.times} times`,
};

const COUNTERS = [
  ["borrows", "Sessions lent"],
  ["waits", "Requests that had to wait"],
  ["timeouts", "Requests that gave up waiting"],
  ["refusals", "Requests refused at once"],
  ["opened", "Sessions opened"],
  ["resets", "Sessions cleaned before the next use"],
  ["cancels", "Statements cancelled"],
  ["retries", "Transactions run again"],
  ["renewals", "Statements prepared anew"],
];

const ENDED = {
  connection_lost: "Ended: connection lost",
  statements_dropped: "Ended: prepared statements dropped",
  read_only: "Ended: its server takes no writes any more",
  idle_timeout: "Ended: idle for long",
  max_lifetime: "Ended: old enough",
  check_failed: "Ended: no answer to a check",
  reset_failed: "Ended: could not be cleaned",
  unusable: "Ended: statement did not stop",
  dropped: "Ended: task cut off",
  refused: "Ended: refused by a hook",
  sandbox: "Ended: sandbox over",
  resized: "Ended: pool made smaller",
  renewed: "Ended: others were asked for",
  owned: "Ended: dropped by its owner",
  closed: "Ended: pool closed",
};

const CARDS = [
  { id: "used", series: [(p) => p.used], unit: whole, least: 1, step: true },
  { id: "pending", series: [(p) => p.pending], unit: whole, least: 1, step: true },
  { id: "statements", series: [(p) => p.statements], unit: rate, least: 10 },
  { id: "latency", series: [(p) => p.latency_p50, (p) => p.latency_p99], unit: duration, log: true },
  { id: "wait", series: [(p) => p.wait_p50, (p) => p.wait_p99], unit: duration, log: true },
];

const $ = (selector) => document.querySelector(selector);
const points = [];
const notes = new Map();
let latest = null;
let selected = null;
let sortKey = "total";

// Words and numbers.

function count(n, what) {
  return `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
}

function whole(n) {
  return Math.round(n).toLocaleString("en");
}

function rate(n) {
  return n > 0 && n < 10 ? n.toFixed(1) : whole(n);
}

/// Microseconds, in three digits or fewer.
function duration(us) {
  const digits = (n) => (n < 10 ? n.toFixed(1) : Math.round(n).toString()).replace(/\.0$/, "");
  if (us < 1_000) return `${Math.round(us)} µs`;
  if (us < 999_500) return `${digits(us / 1_000)} ms`;
  if (us < 120_000_000) return `${digits(us / 1_000_000)} s`;
  if (us < 7_200_000_000) return `${Math.round(us / 60_000_000)} min`;
  return `${Math.round(us / 3_600_000_000)} h`;
}

/// A time that goes on. Fractions of a second would flicker.
function elapsed(us) {
  return us < 1_000_000 ? "now" : duration(us < 120_000_000 ? Math.floor(us / 1_000_000) * 1_000_000 : us);
}

/// The file with its folder.
function shortPath(path) {
  return path.split(/[\\/]/).slice(-2).join("/");
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

// The document.

function make(name, classes, text) {
  const element = document.createElement(name);
  if (classes) element.className = classes;
  if (text !== undefined) element.textContent = text;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/// Makes the children of `parent` those of `items`: each item keeps its element, which is moved only if it has to be.
function reconcile(parent, items, keyOf, create, update) {
  const known = parent.known ?? (parent.known = new Map());
  const left = new Set(known.keys());
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = known.get(key);
    if (!element) known.set(key, (element = create(item)));
    left.delete(key);
    update(element, item);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  }
  for (const key of left) {
    known.get(key).remove();
    known.delete(key);
  }
}

// Charts.

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function drawChart(card) {
  const chart = $(`#card-${card.id} svg`);
  const width = chart.clientWidth;
  const height = chart.clientHeight - AXIS;
  if (!width || !points.length) return;
  const end = points.at(-1).at;
  const span = WINDOWS.find((span) => points[0].at >= end - span) ?? WINDOWS.at(-1);
  const shown = points.filter((point) => point.at >= end - span);
  const values = card.series.flatMap((read) => shown.map(read)).filter((value) => value != null);
  const x = (at) => Math.round((1 - (end - at) / span) * width * 10) / 10;
  let y;
  let lines;
  if (card.log) {
    const low = 10 ** Math.floor(Math.log10(Math.max(1, Math.min(...values, 1e3))));
    const high = Math.max(10 ** Math.ceil(Math.log10(Math.max(...values, 1))), low * 10);
    const decades = Math.log10(high / low);
    y = (value) => height - (Math.log10(Math.max(value, low) / low) / decades) * height;
    lines = [high, 10 ** (Math.log10(low) + Math.floor(decades / 2))];
  } else {
    const high = nice(Math.max(card.least, card.id === "used" && latest ? latest.status.max : 0, ...values));
    y = (value) => height - (value / high) * height;
    lines = [high];
  }
  const parts = [svg("line", { class: "grid-line", x1: 0, x2: width, y1: height, y2: height })];
  for (const value of lines) {
    parts.push(svg("line", { class: "grid-line", x1: 0, x2: width, y1: y(value), y2: y(value) }));
  }
  card.series.forEach((read, index) => {
    const [line, area] = paths(shown, read, x, y, height, card.step);
    if (index === 0 && !card.log) parts.push(svg("path", { class: "area", d: area }));
    // The first series is drawn over the second one.
    parts.push(svg("path", { class: index ? "line second" : "line", d: line }));
  });
  for (const value of lines) {
    const label = svg("text", { class: "axis", x: 0, y: y(value) + 11 });
    label.textContent = card.unit(value);
    parts.push(label);
  }
  const past = svg("text", { class: "axis", x: 0, y: height + AXIS - 1 });
  past.textContent = span < 120_000 ? "1 minute ago" : `${span / 60_000} minutes ago`;
  const present = svg("text", { class: "axis", x: width, y: height + AXIS - 1, "text-anchor": "end" });
  present.textContent = "now";
  parts.push(past, present);
  const pointed = chart.pointedAt == null ? null : nearest(shown, end - (1 - chart.pointedAt) * span);
  if (pointed) parts.push(svg("line", { class: "cursor", x1: x(pointed.at), x2: x(pointed.at), y1: 0, y2: height }));
  chart.replaceChildren(...parts);
  describe(card, pointed ?? points.at(-1), pointed != null);
}

/// The path of a series, and the area under it. It is interrupted where nobody looked, or nothing was measured.
function paths(shown, read, x, y, height, step) {
  const runs = [];
  let last = null;
  for (const point of shown) {
    const value = read(point);
    if (value == null) {
      // A second in which nothing ran is no gap of a chart of durations.
      continue;
    }
    if (!last || point.at - last > (step ? GAP : 4 * GAP)) runs.push([]);
    runs.at(-1).push([x(point.at), Math.round(y(value) * 10) / 10]);
    last = point.at;
  }
  const line = runs.map((run) => {
    const drawn = run.length === 1 ? [run[0], [run[0][0] + 0.1, run[0][1]]] : run;
    return drawn.map(([px, py], i) => (i === 0 ? `M${px} ${py}` : step ? `H${px}V${py}` : `L${px} ${py}`)).join("");
  });
  const area = runs.map((run, i) => `${line[i]}V${height}H${run[0][0]}Z`);
  return [line.join(""), area.join("")];
}

function nice(value) {
  if (value <= 20) return Math.ceil(value);
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) * power;
}

function nearest(shown, at) {
  return shown.reduce((best, point) => (best && Math.abs(best.at - at) <= Math.abs(point.at - at) ? best : point), null);
}

/// The number of a card: now, or at the second that is pointed at.
function describe(card, point, pointed) {
  const value = $(`#card-${card.id} .value`);
  const note = $(`#card-${card.id} .note`);
  const when = pointed ? `at ${clock(point.at)}` : null;
  const write = (main, small) => {
    if (value.dataset.shown === `${main}|${small}`) return;
    value.dataset.shown = `${main}|${small}`;
    value.replaceChildren(main, make("small", "", small));
    if (card.log) value.lastChild.prepend(make("i", "key"));
  };
  const some = (n, unit) => (n == null ? "–" : unit(n));
  switch (card.id) {
    case "used":
      write(whole(point.used), `of ${latest.status.max}`);
      setText(note, when ?? `${latest.session_count} open, ${latest.session_count - latest.point.used} idle`);
      break;
    case "pending":
      write(whole(point.pending), "");
      setText(note, when ?? (point.pending ? "for a free session" : "nobody has to wait"));
      break;
    case "statements":
      write(some(point.statements, rate), "");
      setText(note, when ?? (point.borrows == null ? "" : `${rate(point.borrows)} sessions lent`));
      break;
    default: {
      const [p50, p99] = card.series.map((read) => read(point));
      write(some(p50, duration), "median");
      const key = `${when ?? "now"}|${p99}`;
      if (note.dataset.shown !== key) {
        note.dataset.shown = key;
        note.replaceChildren(make("i", "key second"), `p99 ${some(p99, duration)}`);
        if (when) note.append(` ${when}`);
      }
    }
  }
}

for (const card of CARDS) {
  const chart = $(`#card-${card.id} svg`);
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    chart.pointedAt = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    drawChart(card);
  });
  chart.addEventListener("pointerleave", () => {
    chart.pointedAt = null;
    drawChart(card);
  });
}

// Sessions.

function createCell(session) {
  const item = make("li");
  const cell = make("button", "cell");
  cell.type = "button";
  cell.append(make("span", "glyph"), make("span", "name"), make("span", "since"), make("span", "line-1"), make("span", "line-2"));
  if (session.state !== "none") {
    cell.addEventListener("click", () => {
      selected = selected === session.number ? null : session.number;
      drawSessions();
    });
  } else {
    cell.disabled = true;
  }
  item.append(cell);
  return item;
}

function updateCell(item, session) {
  const cell = item.firstChild;
  const [name, glyph] = STATES[session.state] ?? [session.state, "?"];
  const borrowed = session.caller != null;
  setAttribute(cell, "data-state", session.state);
  setText(cell.querySelector(".glyph"), glyph);
  setText(cell.querySelector(".name"), name);
  setText(cell.querySelector(".since"), session.since == null ? "" : elapsed(session.since));
  setText(cell.querySelector(".line-1"), borrowed ? session.statement ?? session.route ?? "no statement yet" : "");
  setText(cell.querySelector(".line-2"), shortPath(session.caller ?? ""));
  if (session.state === "none") return setAttribute(cell, "aria-label", name);
  setAttribute(cell, "aria-expanded", String(selected === session.number));
  const details = [`Session ${session.number}`, name, session.statement, session.caller, session.route];
  const title = details.filter((detail) => detail != null).join(" · ");
  setAttribute(cell, "aria-label", title);
  setAttribute(cell, "title", title);
}

function drawSessions() {
  const { status, sessions, session_count } = latest;
  const places = Math.max(0, Math.min(status.max, 500) - session_count);
  const free = Array.from({ length: places }, (_, index) => ({ number: `free ${index}`, state: "none" }));
  const list = $("#sessions");
  list.classList.toggle("dense", sessions.length + free.length > DENSE);
  reconcile(list, [...sessions, ...free], (session) => session.number, createCell, updateCell);
  const left = session_count - sessions.length;
  setText(
    $("#sessions-count"),
    `${session_count} open of at most ${status.max}${left > 0 ? `, the first ${sessions.length} shown` : ""}`,
  );

  const detail = $("#session-detail");
  const session = sessions.find((session) => session.number === selected);
  detail.hidden = !session;
  if (session) {
    const rows = [
      ["Session", `number ${session.number}, opened ${elapsed(session.age)} ago`.replace("now ago", "just now")],
      ["State", `${STATES[session.state]?.[0] ?? session.state} for ${elapsed(session.since)}`.replace("for now", "just now")],
      ["Borrowed at", session.caller],
      ["Route", session.route],
      ["Last statement", session.statement],
    ].filter(([, value]) => value != null);
    reconcile(detail, rows.flatMap(([name, value]) => [["dt", name, name], ["dd", name, value]]),
      ([kind, name]) => kind + name, ([kind]) => make(kind), (element, [, , text]) => setText(element, text));
  }

  const pending = status.pending_requests;
  $("#queue").classList.toggle("waiting", pending > 0);
  const wait = pending === 1 ? "request waits" : "requests wait";
  setText($("#queue-text"), pending ? `${whole(pending)} ${wait} for a session` : "No request waits for a session.");
  const pips = $("#queue-pips");
  while (pips.childElementCount > Math.min(pending, MOST_PIPS)) pips.lastChild.remove();
  while (pips.childElementCount < Math.min(pending, MOST_PIPS)) pips.append(make("i"));
}

// What happened.

function addNotes(added) {
  for (const note of added) notes.set(note.number, note);
  for (const key of notes.keys()) {
    if (notes.size <= 100) break;
    notes.delete(key);
  }
}

function drawNotes() {
  const newest = [...notes.values()].sort((a, b) => b.number - a.number);
  $("#no-notes").hidden = newest.length > 0;
  reconcile(
    $("#notes"),
    newest,
    (note) => note.number,
    (note) => {
      const item = make("li");
      item.dataset.kind = note.kind;
      const [sentence, bad] = NOTES[note.kind] ?? [(n) => `${note.kind}: ${n}`, false];
      const warning = WARNINGS[note.kind];
      const again = note.count > 1 ? ` × ${whole(note.count)}` : "";
      const text = make("span", bad ? "bad" : warning ? "warning" : "", warning ? warning(note) + again : sentence(note.count));
      item.append(make("time", "", clock(note.at)), text);
      for (const parts of [[note.doing, note.statement], [note.caller && shortPath(note.caller), note.route]]) {
        const details = parts.filter((part) => part != null).join(" · ");
        if (details) item.append(make("span", "details", details));
      }
      if (note.caller) item.title = note.caller;
      return item;
    },
    () => {},
  );
  const { counters } = latest.status;
  const rows = COUNTERS.map(([key, name]) => [name, counters[key]]);
  for (const [key, value] of Object.entries(counters.ended)) if (value) rows.push([ENDED[key] ?? key, value]);
  reconcile($("#counters"), rows.flatMap(([name, value]) => [["dt", name, name], ["dd", name, whole(value)]]),
    ([kind, name]) => kind + name, ([kind]) => make(kind), (element, [, , text]) => setText(element, text));
}

// Statements.

/// A SQLSTATE or a word. OpenTelemetry's for all others has an underscore.
function errorName(code) {
  return code === "_OTHER" ? "other" : code;
}

const COLUMNS = [
  ["Total", (s) => duration(s.total)],
  ["Calls", (s) => whole(s.calls)],
  ["Mean", (s) => duration(s.mean)],
  ["Longest", (s) => duration(s.longest)],
  ["Rows", (s) => whole(s.rows)],
  ["Errors", (s) => Object.entries(s.errors).map(([code, n]) => (n > 1 ? `${errorName(code)} × ${whole(n)}` : errorName(code))).join(", ")],
];

function createStatement(statement) {
  const row = make("tr");
  const first = make("td");
  const sql = make("button", "sql", statement.sql);
  sql.type = "button";
  sql.setAttribute("aria-expanded", "false");
  sql.title = "Show the whole text";
  sql.addEventListener("click", () => sql.setAttribute("aria-expanded", String(sql.getAttribute("aria-expanded") === "false")));
  first.append(make("div", "summary", statement.summary), sql);
  row.append(first);
  for (const [label] of COLUMNS) {
    const cell = make("td");
    cell.dataset.label = label;
    row.append(cell);
  }
  return row;
}

function drawStatements() {
  const { statements, statement_count } = latest;
  // Texts that differ in literals only look the same.
  const seen = new Map();
  for (const statement of statements) {
    const times = (seen.get(statement.sql) ?? 0) + 1;
    seen.set(statement.sql, times);
    statement.key = `${times} ${statement.sql}`;
    statement.failures = Object.values(statement.errors).reduce((sum, n) => sum + n, 0);
  }
  const sorted = [...statements].sort((a, b) => b[sortKey] - a[sortKey] || b.total - a.total);
  reconcile($("#statements tbody"), sorted, (statement) => statement.key, createStatement, (row, statement) => {
    COLUMNS.forEach(([, read], index) => setText(row.children[index + 1], read(statement)));
    row.lastChild.classList.toggle("bad", statement.failures > 0);
  });
  $("#no-statements").hidden = statements.length > 0;
  const shown = statement_count > statements.length ? `The ${statements.length} that took the most time, of ${whole(statement_count)}. ` : "";
  setText($("#statements-count"), `${shown}Counted only while somebody looks at this page.`);
}

for (const button of document.querySelectorAll("#statements th button")) {
  button.addEventListener("click", () => {
    sortKey = button.dataset.key;
    for (const head of document.querySelectorAll("#statements th")) head.removeAttribute("aria-sort");
    button.parentElement.setAttribute("aria-sort", "descending");
    if (latest) drawStatements();
  });
}

// The server's view.

$("#ask").addEventListener("click", async () => {
  const button = $("#ask");
  const note = $("#activity-note");
  button.disabled = true;
  note.textContent = "asking …";
  try {
    const response = await fetch("activity", { cache: "no-store" });
    if (!response.ok) throw new Error(response.status === 503 ? "no session could be had for the question" : `status ${response.status}`);
    drawActivity(await response.json());
    note.textContent = `as of ${clock(Date.now())}`;
  } catch (error) {
    note.textContent = `The server could not be asked: ${error.message}.`;
  } finally {
    button.disabled = false;
  }
});

function drawActivity(backends) {
  const seconds = (value) => (value == null ? "" : duration(Math.max(0, value) * 1e6));
  const rows = backends.map((backend) => {
    const waits = [backend.wait_event_type, backend.wait_event].filter((part) => part != null).join(" ");
    const row = make("tr");
    const cells = [
      ["Query", backend.asked ? "(this question)" : backend.query ?? ""],
      ["PID", String(backend.pid)],
      ["State", backend.state ?? ""],
      ["Waits for", waits],
      ["In state", backend.asked ? "" : seconds(backend.state_age)],
      ["In transaction", backend.asked ? "" : seconds(backend.transaction_age)],
      ["Age", seconds(backend.age)],
    ];
    for (const [label, text] of cells) {
      const cell = make("td", "", text);
      cell.dataset.label = label;
      row.append(cell);
    }
    row.firstChild.title = backend.query ?? "";
    return row;
  });
  $("#activity tbody").replaceChildren(...rows);
  $("#activity-table").hidden = false;
}

// The stream.

function addPoints(added) {
  for (const point of added) {
    const last = points.at(-1);
    if (last && point.at <= last.at) continue;
    points.push(point);
  }
  while (points.length && points[0].at < points.at(-1).at - WINDOWS.at(-1)) points.shift();
}

function draw() {
  if (!latest || document.hidden) return;
  for (const card of CARDS) drawChart(card);
  drawSessions();
  drawNotes();
  drawStatements();
}

function show(state, text) {
  const connection = $("#connection");
  connection.className = state;
  setText(connection, text);
}

function listen() {
  const source = new EventSource("events");
  let lost = null;
  source.addEventListener("history", (event) => {
    const history = JSON.parse(event.data);
    addPoints(history.points);
    addNotes(history.notes);
  });
  source.addEventListener("sample", (event) => {
    clearTimeout(lost);
    lost = null;
    latest = JSON.parse(event.data);
    addPoints([latest.point]);
    addNotes(latest.notes);
    show("live", `live, ${clock(latest.point.at)}`);
    draw();
  });
  source.addEventListener("error", () => {
    // A stream ends now and then, and the next one begins at once.
    lost ??= setTimeout(() => show("lost", "connection lost, trying again"), 2_500);
    // After an answer that is no stream the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) {
      show("lost", "connection lost, trying again");
      setTimeout(listen, 3_000);
    }
  });
}

for (const mark of document.querySelectorAll("#legend dt")) {
  mark.className = "glyph";
  mark.textContent = STATES[mark.dataset.state][1];
}
$("#legend").open = matchMedia("(min-width: 601px)").matches;
document.addEventListener("visibilitychange", draw);
new ResizeObserver(draw).observe($(".cards"));
listen();
