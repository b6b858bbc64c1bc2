"use strict";
/* One item in one store: its figures, how they come about, its ledger as a chart and as a table. */

const Item = (() => {
  const { el, number, change, time, name } = Look;
  let chart = null;
  let shown = null; // {store, item} as the address has them
  let table = null;
  let entries = [];

  const KINDS = { sale: "sale", shrink: "shrink", restock: "delivery", bopis: "pickup", count: "stock count" };

  function kindName(kind) {
    return KINDS[kind] || kind;
  }

  /* Show what the address names, or the newest figures of it. */
  async function show(place, store, item, isNew) {
    const rows = await Data.Stock.ofItem(item);
    const row = rows.find((each) => each.store == store);
    const [title, account] = await Promise.all([
      Data.Names.of(item), row ? Data.ledgerOf(row.store, item) : null,
    ]);
    if (isNew || !place.firstChild || !row) build(place, row);
    shown = { store, item };
    document.title = `${title || item} – Inventory`;
    place.querySelector("#item-title").replaceChildren(name(title, `item ${item}`));
    place.querySelector(".where").replaceChildren(`Item ${item} in `, Look.store(row ? row.store : store));
    if (!row) {
      place.querySelector(".figures").replaceChildren(el("p", {}, "There is nothing of this item in this store."));
      return;
    }
    place.querySelector(".item-states").replaceChildren(Look.states(row.flags));
    figures(place.querySelector(".tiles"), row);
    place.querySelector(".account").replaceChildren(...sentence(row));
    others(place.querySelector("#item-stores"), rows, title);
    ledger(place, row, title, account);
  }

  function build(place, row) {
    destroy();
    const back = el("p", { class: "back" }, el("a", { href: "#stock" }, "‹ All items"));
    const head = el("div", { class: "item-head" }, el("h2", { id: "item-title", tabindex: "-1" }),
      el("span", { class: "item-states" }));
    const top = el("div", { class: "figures" }, el("dl", { class: "tiles" }), el("p", { class: "account" }));
    place.replaceChildren(back, head, el("p", { class: "where note" }), top);
    if (!row) return;
    place.append(
      el("section", { "aria-labelledby": "ledger-title" },
        el("h3", { id: "ledger-title" }, "Ledger"),
        el("p", { class: "note", id: "ledger-note" }),
        el("figure", { class: "chart" },
          el("div", { id: "chart", role: "img" }),
          el("figcaption", { class: "legend" },
            el("span", {}, el("span", { class: "key line" }), "on hand"),
            el("span", {}, el("span", { class: "key dot" }), "stock count"),
            el("span", { id: "legend-safety" }, el("span", { class: "key dash" }), "safety stock"),
            el("span", { id: "cursor", class: "cursor", "aria-hidden": "true" }))),
        el("div", { id: "entries" })),
      el("section", { "aria-labelledby": "others-title" },
        el("h3", { id: "others-title" }, "In all stores"),
        el("div", { class: "scroller", role: "region", "aria-label": "This item in all stores", tabindex: "0" },
          el("table", { class: "plain", id: "item-stores" }, el("caption", { class: "quiet" }, "This item in all stores"),
            el("thead"), el("tbody")))),
    );
  }

  function figures(place, row) {
    const tiles = [
      ["On hand", number(row.on_hand)],
      ["Committed to orders", number(row.committed)],
      ["Available", number(row.available)],
      ["To promise elsewhere", number(row.to_promise)],
      ["Safety stock", number(row.safety)],
      ["Last event", time(row.changed_at)],
    ];
    place.replaceChildren(...tiles.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
  }

  function sentence(row) {
    const parts = [["sale", "sales"], ["restock", "deliveries"], ["shrink", "shrink"]];
    const store = Data.storeOf(row.store);
    if (!store || store.channel !== "online") parts.push(["bopis", "pickups"]);
    const moved = parts.filter(([field]) => row[field] != 0)
      .map(([field, text]) => `${Look.change(row[field])} ${text}`).join(", ");
    const start = row.counted === null
      ? ["Never counted; all that came and went: "]
      : ["Counted ", el("strong", {}, number(row.counted)), " at ", time(row.counted_at), "; since then "];
    return [...start, moved || "nothing came or went", ". That makes ", el("strong", {}, number(row.on_hand)), " on hand."];
  }

  function others(place, rows, title) {
    Look.fill(place, [
      ["Store", "", (row) => el("a", { href: `#item/${row.store}/${row.item}`, "aria-current": row.store == shown.store ? "page" : null }, Look.store(row.store))],
      ["On hand", "number", (row) => number(row.on_hand)],
      ["Available", "number", (row) => number(row.available)],
      ["Last event", "time wide", (row) => time(row.changed_at)],
      ["State", "", (row) => Look.states(row.flags)],
    ], rows);
  }

  function ledger(place, row, title, account) {
    const note = place.querySelector("#ledger-note");
    entries = account ? account.entries : [];
    const counts = entries.filter((entry) => entry.kind === "count");
    if (!account) note.textContent = "The ledger has not been built yet; it follows the inventory within a minute.";
    else if (!entries.length) note.textContent = `Nothing came, went or was counted in the last ${Data.now.ledger.days} days.`;
    else {
      const left = account.total - entries.length;
      note.textContent = `${plural(account.total, "entry", "entries")} in ${Data.now.ledger.days} days`
        + (left > 0 ? `, the latest ${Look.whole.format(entries.length)} of them here` : "")
        + `, ${plural(counts.length, "stock count", "stock counts")} among them.`
        + (isBehind(row) ? " The ledger is built once a minute and has not caught up with the last event." : "");
    }
    place.querySelector(".chart").hidden = !entries.length;
    place.querySelector("#entries").hidden = !entries.length;
    if (!entries.length) return;
    draw(row, title, counts);
    if (!table) {
      table = new Look.Table(place.querySelector("#entries"), {
        caption: "Entries of the ledger, the latest first",
        length: 15,
        empty: "no entries",
        source: new Data.Rows(() => [...entries].reverse()),
        question: (asked) => ({ filters: {}, text: "", order: asked.order }),
        columns: [
          { title: "Time", name: "at", sorts: false, kind: "time", cell: (entry) => time(entry.at, true) },
          { title: "Entry", name: "kind", sorts: false, cell: (entry) => kindName(entry.kind) },
          { title: "Units", name: "quantity", sorts: false, kind: "number", cell: (entry) => change(entry.quantity) },
          { title: "On hand after", name: "balance", sorts: false, kind: "number", cell: (entry) => number(entry.balance) },
        ],
      });
    } else table.redraw();
  }

  function isBehind(row) {
    return !entries.length || entries[entries.length - 1].balance != row.on_hand;
  }

  function plural(count, one, many) {
    return `${Look.whole.format(count)} ${count === 1 ? one : many}`;
  }

  /* ------------------------------------------------------------------ the chart */

  function draw(row, title, counts) {
    const place = document.getElementById("chart");
    const balances = entries.map((entry) => Number(entry.balance));
    const [low, high] = [Math.min(...balances), Math.max(...balances)];
    place.setAttribute("aria-label",
      `Units on hand of ${title || `item ${row.item}`} in ${Data.storeName(row.store)} from `
      + `${Look.stamp(entries[0].at).text} to ${Look.stamp(entries[entries.length - 1].at).text}: lowest ${low}, `
      + `highest ${high}, last ${balances[balances.length - 1]}; ${plural(counts.length, "stock count", "stock counts")}. `
      + "The table below has each entry.");
    document.getElementById("legend-safety").hidden = row.safety === null;
    const data = [
      entries.map((entry) => entry.at),
      balances,
      entries.map((entry) => (entry.kind === "count" ? Number(entry.balance) : null)),
    ];
    // What stands after the last entry stands until now.
    if (!isBehind(row) && Data.now.clock > data[0][data[0].length - 1]) {
      data[0].push(Data.now.clock);
      data[1].push(balances[balances.length - 1]);
      data[2].push(null);
    }
    if (row.safety !== null) data.push(data[0].map(() => Number(row.safety)));
    if (chart) chart.destroy();
    place.replaceChildren();
    chart = new uPlot(options(place, row), data, place);
    place.dataset.counts = String(counts.length);
  }

  const YEAR = 31536000;
  const AXIS_TIMES = [ // from so many seconds between two marks on: what each says, and what is below
    [YEAR, "{YYYY}", null, null, null, null, null, null, 1],
    [YEAR / 12, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [3600, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  ];

  function options(place, row) {
    const style = getComputedStyle(document.documentElement);
    const colour = (variable) => style.getPropertyValue(variable).trim();
    const axis = {
      stroke: colour("--soft"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    const series = [
      {},
      { stroke: colour("--accent"), width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
      {
        stroke: colour("--count"), width: 0, paths: () => null,
        points: { show: true, size: 9, width: 2, stroke: colour("--count"), fill: colour("--paper") },
      },
    ];
    if (row.safety !== null) {
      series.push({ stroke: colour("--warn"), width: 1, dash: [6, 5], points: { show: false } });
    }
    return {
      width: Math.max(240, place.clientWidth),
      height: window.innerWidth < 600 ? 220 : 300,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { y: { range: (_, low, high) => span(low, high) } },
      axes: [{ ...axis, space: 80, values: AXIS_TIMES }, { ...axis, size: 48, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000, 1000000] }],
      series,
      hooks: { setCursor: [(plot) => tell(plot.cursor.idx)] },
    };
  }

  /* Zero is always in the picture: how far it is to an empty shelf is what one looks for. */
  function span(low, high) {
    const [from, to] = [Math.min(0, low ?? 0), Math.max(1, high ?? 1)];
    const room = (to - from) * 0.06;
    return [from < 0 ? from - room : 0, to + room];
  }

  function tell(index) {
    const entry = index === null || index === undefined ? null : entries[index];
    document.getElementById("cursor").textContent = entry
      ? `${Look.stamp(entry.at).text}  ${kindName(entry.kind)} ${Look.change(entry.quantity)} → ${Look.whole.format(entry.balance)}`
      : "";
  }

  async function redraw() {
    if (!chart || !shown) return;
    const rows = await Data.Stock.ofItem(shown.item);
    const row = rows.find((each) => each.store == shown.store);
    if (chart && row) draw(row, await Data.Names.of(shown.item), entries.filter((entry) => entry.kind === "count"));
  }

  function destroy() {
    if (chart) chart.destroy();
    chart = null;
    table = null;
    shown = null;
    entries = [];
  }

  function leave(place) {
    destroy();
    place.replaceChildren();
  }

  return { show, leave, redraw, get chart() { return chart; } };
})();
