"use strict";
/* The page: its sections, the address (#item/<store>/<item> is one item), and the look for a newer
   moment every so often. */

const Page = (() => {
  const { el, number, change, time, store, itemCell } = Look;
  const id = (name) => document.getElementById(name);
  const tables = [];
  let isPaused = false;
  let before = new Set(); // what had just changed when it was shown last
  let timer = 0;
  let place = 0; // how far down the overview was, to come back to

  /* ------------------------------------------------------------------ what each moment fills in */

  function summary() {
    const { now } = Data;
    const { totals } = now;
    const list = (listed, field) => (listed ? number(listed[field]) : Look.unknown());
    const tiles = [
      ["Items in all stores", number(now.stock.keys), `${Look.whole.format(now.stock.items)} different items`],
      ["Units on hand", number(totals.on_hand), null],
      ["Committed to orders", number(totals.committed), null],
      ["Alerts", list(now.alerts, "total"), "#alerts"],
      ["Orders to collect", list(now.orders, "total"), "#orders"],
      ["Below safety stock", number(totals.below_safety), null],
    ];
    id("tiles").replaceChildren(...tiles.map(([term, value, more]) =>
      el("div", {}, el("dt", {}, term),
        el("dd", {}, more && more.startsWith("#") ? el("a", { href: more }, value) : value,
          more && !more.startsWith("#") ? el("small", {}, more) : null))));
    const alerts = new Map();
    for (const [, of, count] of now.alerts ? now.alerts.by_kind : []) {
      alerts.set(String(of), (alerts.get(String(of)) || 0) + count);
    }
    Look.fill(id("stores"), [
      ["Store", "", (row) => el("div", {}, store(row.id), el("span", { class: "sub" }, row.channel || "not in the list of stores"))],
      ["Items", "number wide", (row) => number(row.keys)],
      ["On hand", "number", (row) => number(row.on_hand)],
      ["Committed", "number wide", (row) => number(row.committed)],
      ["Available", "number", (row) => number(row.available)],
      ["Negative", "number wide", (row) => number(row.negative)],
      ["None available", "number wide", (row) => number(row.nothing_available)],
      ["Below safety stock", "number wide", (row) => number(row.below_safety)],
      ["Never counted", "number wide", (row) => number(row.never_counted)],
      ["Alerts", "number", (row) => number(alerts.get(String(row.id)) || 0)],
    ], now.stores);
    id("nav-alerts").textContent = now.alerts ? Look.whole.format(now.alerts.total) : "";
    id("nav-orders").textContent = now.orders ? Look.whole.format(now.orders.total) : "";
    id("as-of").replaceChildren(...(now.clock === null ? ["no events yet"] : ["as of ", time(now.clock, true), " UTC"]));
  }

  function notes() {
    const { now } = Data;
    const missing = "Not built yet.";
    const alerts = new Map();
    for (const [kind, , count] of now.alerts ? now.alerts.by_kind : []) {
      alerts.set(kind, (alerts.get(kind) || 0) + count);
    }
    id("alerts-note").replaceChildren(...(now.alerts
      ? ["Of counted items; raised at one quantity and cleared at a higher one. ",
        ...[...alerts].sort().flatMap(([kind, count]) => [Look.state(kind), ` ${Look.whole.format(count)}  `])]
      : [missing]));
    const waiting = now.orders && now.orders.by_status.awaiting_order;
    id("orders-note").textContent = now.orders
      ? `${Look.whole.format(now.orders.open_units)} units are kept for them. Those that are released first are on top.`
        + (waiting ? ` ${Look.whole.format(waiting)} pickups wait for their order to be heard of.` : "")
      : missing;
    id("variances-note").textContent = now.variances
      ? `What the counts of the last ${now.variances.days} days found more or less than the books; the first count of an item is left out, it finds the opening stock.`
        + cut(now.variances)
      : missing;
    const causes = Object.entries(now.restatements ? now.restatements.by_cause : {}).sort()
      .map(([cause, count]) => `${count.toLocaleString("en")} by ${causeName(cause)}`);
    id("restatements-note").textContent = now.restatements
      ? `Published figures that were changed afterwards: ${causes.join(", ") || "none"}.` + cut(now.restatements)
      : missing;
  }

  function cut(listed) {
    return listed.rows < listed.total
      ? ` The first ${Look.whole.format(listed.rows)} of ${Look.whole.format(listed.total)} are here.` : "";
  }

  const FEEDS = { pos_messages: "Inventory changes", pos_count_rows: "Stock counts", pos_items: "Item list" };

  function freshness() {
    const { now } = Data;
    const received = (at) => (at === null ? Look.unknown() : el("div", {}, time(at, true), el("span", { class: "sub" }, Look.ago(at))));
    Look.fill(id("feeds"), [
      ["Feed", "", (row) => el("div", {}, FEEDS[row.feed] || row.feed, el("span", { class: "sub" }, `bronze.${row.feed}`))],
      ["Last received", "time", (row) => received(row.received_at)],
      ["Last event", "time", (row) => time(row.event_at, true)],
      ["Rows", "number wide", (row) => number(row.rows)],
    ], now.freshness);
    Look.fill(id("quiet"), [
      ["Store", "", (row) => store(row.id)],
      ["Last event", "time", (row) => time(row.changed_at, true)],
      ["Last count", "time", (row) => time(row.counted_at, true)],
    ], now.stores);
    Look.fill(id("tables"), [
      ["Table", "", ([table]) => table],
      ["Version", "number", ([, version]) => number(version)],
      ["Written", "time", ([, , at]) => time(at, true)],
      ["Rows", "number", ([, , , rows]) => number(rows)],
    ], now.tables);
  }

  function updated() {
    const { now } = Data;
    if (!now) return;
    const text = `${now.is_live ? "Live, w" : "W"}ritten ${Look.ago(now.written_at)}${isPaused ? ", updates paused" : ""}`;
    if (id("updated").textContent !== text) id("updated").textContent = text;
  }

  const CAUSES = { late_event: "late event", late_count: "late count", corrected_count: "corrected count", re_drive: "re-drive", rebuild: "rebuild" };

  function causeName(cause) {
    return CAUSES[cause] || cause;
  }

  /* ------------------------------------------------------------------ the large tables */

  const stores = () => Data.now.stores.map((each) => [String(each.id), Data.storeName(each.id)]);
  const byStore = () => ({ name: "store", label: "Store", all: "all stores", options: stores });
  const asked = ({ text, filters, order }) => ({ text, filters, order });

  function build() {
    tables.push(new Look.Table(id("stock"), {
      caption: "Stock by store and item",
      search: "Search by name or number",
      length: 25,
      empty: "no item is like that",
      source: Data.Stock,
      question: ({ text, filters, order }) => ({ text, store: filters.store, status: filters.status, order: order || ["item", "asc"] }),
      filters: [
        byStore(),
        {
          name: "status", label: "State", all: "any", options: () => [
            ["fine", "in stock"], ["below", "below safety stock"], ["none", "none available"], ["negative", "negative"],
            ["committed", "committed to orders"], ["uncounted", "never counted"], ["unknown", "not in the lists"]],
        },
      ],
      columns: [
        { title: "Item", name: "name", cell: itemCell },
        { title: "Store", name: "store", kind: "wide", cell: (row) => store(row.store) },
        { title: "On hand", name: "on_hand", kind: "number", cell: (row) => number(row.on_hand) },
        { title: "Committed", name: "committed", kind: "number wide", cell: (row) => number(row.committed) },
        { title: "Available", name: "available", kind: "number", cell: (row) => number(row.available) },
        { title: "Safety stock", name: "safety", kind: "number wide", cell: (row) => number(row.safety) },
        { title: "Last event", name: "changed_at", kind: "time wide", cell: (row) => time(row.changed_at) },
        { title: "State", name: "flags", sorts: false, kind: "wide", cell: (row) => Look.states(row.flags) },
      ],
    }));
    tables.push(new Look.Table(id("changed"), {
      caption: "What just changed",
      empty: "nothing has changed yet",
      source: new Data.Rows(changedRows),
      question: asked,
      columns: [
        { title: "Item", name: "name", sorts: false, cell: (row) => marked(row, itemCell(row)) },
        { title: "Store", name: "store", kind: "wide", sorts: false, cell: (row) => store(row.store) },
        { title: "Time", name: "changed_at", sorts: false, kind: "time", cell: (row) => time(row.changed_at, true) },
        { title: "Movement", name: "kind", sorts: false, kind: "wide", cell: (row) => (row.kind === null ? Look.unknown() : `${{ bopis: "pickup", restock: "delivery", count: "stock count" }[Data.now.kinds[row.kind]] || Data.now.kinds[row.kind]} ${change(row.quantity)}`) },
        { title: "On hand", name: "on_hand", sorts: false, kind: "number", cell: (row) => number(row.on_hand) },
        { title: "Available", name: "available", sorts: false, kind: "number wide", cell: (row) => number(row.available) },
        { title: "State", name: "flags", sorts: false, kind: "wide", cell: (row) => Look.states(row.flags) },
      ],
    }));
    tables.push(new Look.Table(id("alerts"), {
      caption: "Alerts that stand",
      search: "Search by name or number",
      empty: "no alert",
      source: new Data.List("alerts"),
      question: asked,
      filters: [byStore(), {
        name: "alert", label: "Alert", all: "any",
        options: () => [["negative", "negative"], ["out_of_stock", "out of stock"], ["below_safety_stock", "below safety stock"]],
      }],
      columns: [
        { title: "Item", name: "name", cell: itemCell },
        { title: "Store", name: "store", kind: "wide", cell: (row) => store(row.store) },
        { title: "Alert", name: "alert", cell: (row) => Look.state(row.alert) },
        { title: "On hand", name: "on_hand", kind: "number wide", cell: (row) => number(row.on_hand) },
        { title: "Available", name: "available", kind: "number", cell: (row) => number(row.available) },
        { title: "Safety stock", name: "safety", kind: "number wide", cell: (row) => number(row.safety) },
        { title: "Raised", name: "raised_at", kind: "time wide", cell: (row) => time(row.raised_at) },
        { title: "Units then", name: "raised_quantity", kind: "number wide", cell: (row) => number(row.raised_quantity) },
        { title: "Times", name: "times", kind: "number wide", cell: (row) => number(row.times) },
      ],
    }));
    tables.push(new Look.Table(id("orders"), {
      caption: "Orders to be collected",
      search: "Search by item, number or order",
      empty: "no order waits to be collected",
      source: new Data.List("orders"),
      question: asked,
      filters: [byStore(), {
        name: "status", label: "Status", all: "any", options: () => [["open", "open"], ["partly_collected", "partly collected"]],
      }],
      columns: [
        { title: "Item", name: "name", cell: (row) => (row.store === null ? el("div", {}, Look.name(row.name), Look.under(row)) : itemCell(row)) },
        { title: "Store", name: "store", kind: "wide", cell: (row) => store(row.store) },
        { title: "To collect", name: "open", kind: "number", cell: (row) => number(row.open) },
        { title: "Ordered", name: "ordered", kind: "number wide", cell: (row) => number(row.ordered) },
        { title: "Collected", name: "picked_up", kind: "number wide", cell: (row) => number(row.picked_up) },
        { title: "Ordered at", name: "ordered_at", kind: "time wide", cell: (row) => time(row.ordered_at) },
        { title: "Released at", name: "release_at", kind: "time", cell: (row) => time(row.release_at) },
        { title: "Order", name: "order", kind: "wide", cell: (row) => el("bdi", { class: "code" }, row.order) },
        { title: "Status", name: "status", kind: "wide", cell: (row) => Look.state(row.status) },
      ],
    }));
    tables.push(new Look.Table(id("sessions"), {
      caption: "The last counts, by store and day",
      length: 6,
      empty: "nothing has been counted yet",
      source: new Data.List("sessions"),
      question: asked,
      columns: [
        { title: "Counted", name: "last_at", sorts: false, kind: "time", cell: (row) => time(row.last_at) },
        { title: "Store", name: "store", sorts: false, cell: (row) => store(row.store) },
        { title: "Items", name: "items", sorts: false, kind: "number", cell: (row) => number(row.items) },
        { title: "Units", name: "counted", sorts: false, kind: "number wide", cell: (row) => number(row.counted) },
        { title: "First counts", name: "opening", sorts: false, kind: "number wide", cell: (row) => number(row.opening) },
        { title: "Varied", name: "varied", sorts: false, kind: "number wide", cell: (row) => number(row.varied) },
        { title: "Missing", name: "missing", sorts: false, kind: "number", cell: (row) => number(row.missing) },
        { title: "Too many", name: "surplus", sorts: false, kind: "number wide", cell: (row) => number(row.surplus) },
        { title: "Restated", name: "restated", sorts: false, kind: "number wide", cell: (row) => number(row.restated) },
        { title: "Late", name: "late", sorts: false, kind: "number wide", cell: (row) => number(row.late) },
      ],
    }));
    tables.push(new Look.Table(id("variances"), {
      caption: "Variances of the last counts, the most units first",
      search: "Search by name or number",
      empty: "no variance",
      source: new Data.List("variances"),
      question: asked,
      filters: [byStore()],
      columns: [
        { title: "Item", name: "name", cell: itemCell },
        { title: "Store", name: "store", kind: "wide", cell: (row) => store(row.store) },
        { title: "Counted at", name: "counted_at", kind: "time wide", cell: (row) => time(row.counted_at) },
        { title: "Books", name: "book", kind: "number wide", cell: (row) => number(row.book) },
        { title: "Counted", name: "counted", kind: "number", cell: (row) => number(row.counted) },
        { title: "Variance", name: "variance", kind: "number", cell: (row) => change(row.variance) },
        {
          title: "Remarks", name: "is_restated", sorts: false, kind: "wide",
          cell: (row) => el("span", { class: "states" }, row.is_late ? Look.state("late") : null, row.is_restated ? Look.state("restated") : null),
        },
      ],
    }));
    tables.push(new Look.Table(id("restatements"), {
      caption: "Restatements, the latest first",
      search: "Search by name or number",
      empty: "nothing has been restated",
      source: new Data.List("restatements"),
      question: asked,
      filters: [byStore(), {
        name: "cause", label: "Cause", all: "any", options: () => Object.entries(CAUSES),
      }],
      columns: [
        { title: "Item", name: "name", cell: itemCell },
        { title: "Store", name: "store", kind: "wide", cell: (row) => store(row.store) },
        { title: "Counted at", name: "counted_at", kind: "time wide", cell: (row) => time(row.counted_at) },
        { title: "Cause", name: "cause", cell: (row) => causeName(row.cause) },
        { title: "On hand", name: "on_hand", sorts: false, kind: "number wide", cell: (row) => turned(row.was_on_hand, row.on_hand, number) },
        { title: "Books", name: "book", sorts: false, kind: "number wide", cell: (row) => turned(row.was_book, row.book, number) },
        { title: "Variance", name: "variance", sorts: false, kind: "number", cell: (row) => turned(row.was_variance, row.variance, change) },
        { title: "Restated", name: "restated_at", kind: "time wide", cell: (row) => time(row.restated_at) },
      ],
    }));
  }

  /* What was believed and what is believed now. */
  function turned(was, is, shown) {
    if (was === is) return el("span", {}, shown(is));
    return el("span", { class: "turned" }, el("span", { class: "faint" }, shown(was)),
      el("span", { class: "quiet" }, " became "), el("span", { "aria-hidden": "true" }, " → "), shown(is));
  }

  function changedRows() {
    const { changed } = Data.now;
    const names = Object.keys(changed);
    return changed.item.map((_, at) => Object.fromEntries(names.map((field) => [field, changed[field][at]])));
  }

  const mark = (row) => `${row.store}/${row.item}/${row.changed_at}`;

  function marked(row, cell) {
    if (before.size && !before.has(mark(row))) cell.classList.add("fresh");
    return cell;
  }

  /* ------------------------------------------------------------------ the address */

  async function route() {
    const address = location.hash.match(/^#item\/(-?\d+)\/(-?\d+)$/);
    const overview = id("overview");
    const item = id("item");
    if (!address) {
      const wasItem = overview.hidden;
      overview.hidden = false;
      item.hidden = true;
      Item.leave(item);
      document.title = "Inventory";
      if (wasItem) {
        const target = location.hash.length > 1 && id(location.hash.slice(1));
        if (target && place === 0) target.scrollIntoView();
        else window.scrollTo(0, place);
        place = 0;
      }
      return;
    }
    if (!overview.hidden) place = window.scrollY;
    overview.hidden = true;
    item.hidden = false;
    await guarded(async () => {
      await Item.show(item, BigInt(address[1]), BigInt(address[2]), true);
      window.scrollTo(0, 0);
      const title = id("item-title");
      if (title) title.focus({ preventScroll: true });
    });
  }

  /* ------------------------------------------------------------------ the moment */

  function draw() {
    summary();
    notes();
    freshness();
    updated();
    if (!tables.length) build();
    else tables.forEach((table) => table.redraw());
  }

  /* Show the newest moment; false if it is the one that is shown. */
  async function refresh() {
    const found = await Data.look();
    if (!found) return false;
    if (found.assets !== document.documentElement.dataset.assets) {
      location.reload(); // the page's own program is another now
      return true;
    }
    if (Data.now) before = new Set(changedRows().map(mark));
    Data.show(found);
    draw();
    const address = location.hash.match(/^#item\/(-?\d+)\/(-?\d+)$/);
    if (address && !id("item").hidden) {
      await Item.show(id("item"), BigInt(address[1]), BigInt(address[2]), false);
    }
    return true;
  }

  /* Do it, and say what cannot be read instead of leaving it at that. */
  async function guarded(work) {
    try {
      await work();
      id("problem").hidden = true;
    } catch (error) {
      if (!(error instanceof Data.Missing)) throw error;
      id("problem").textContent = Data.now
        ? `${error.message}. The figures are those of before; another try follows.`
        : `${error.message}. Write the page anew: pos page`;
      id("problem").hidden = false;
    }
  }

  async function look() {
    clearTimeout(timer);
    if (!isPaused && !document.hidden) await guarded(refresh);
    const seconds = Data.now ? Data.now.poll_seconds : 10;
    timer = setTimeout(look, Math.max(1, seconds) * 1000);
  }

  async function start() {
    DataTable.ext.errMode = "throw";
    const pause = id("pause");
    pause.addEventListener("click", () => {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", String(isPaused));
      updated();
      if (!isPaused) look();
    });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
    window.addEventListener("hashchange", route);
    setInterval(updated, 5000);
    const redraw = () => Item.redraw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    let resized = 0;
    window.addEventListener("resize", () => {
      clearTimeout(resized);
      resized = setTimeout(redraw, 150);
    });
    await look();
    if (Data.now) await route();
  }

  start();
  return { refresh };
})();
