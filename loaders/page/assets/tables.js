"use strict";
/* How things look: elements that hold text and never markup, numbers, times, and tables on top of
   DataTables, which asks for a page of rows at a time. */

const Look = (() => {
  const whole = new Intl.NumberFormat("en");
  const signed = new Intl.NumberFormat("en", { signDisplay: "exceptZero" });

  /* An element; what is not an element among its children becomes text. */
  function el(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "class") element.className = value;
      else if (value === true) element.setAttribute(key, "");
      else element.setAttribute(key, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  const unknown = () => el("span", { class: "faint" }, "–");

  function number(value) {
    if (value === null || value === undefined) return unknown();
    const text = minus(whole.format(value));
    return value < 0 ? el("span", { class: "below-zero" }, text) : text;
  }

  function change(value) {
    return value === null || value === undefined ? unknown() : minus(signed.format(value));
  }

  function minus(text) {
    return text.replace("-", "−");
  }

  function stamp(at, withSeconds) {
    const date = new Date(Number(at) * 1000);
    if (Number.isNaN(date.getTime())) return null;
    const text = date.toISOString();
    return { iso: text, text: text.slice(0, withSeconds ? 19 : 16).replace("T", " ") };
  }

  function time(at, withSeconds) {
    const made = at === null || at === undefined ? null : stamp(at, withSeconds);
    if (!made) return unknown();
    const [day, clock] = made.text.split(" "); // a narrow column breaks between the two
    return el("time", { datetime: made.iso }, el("span", {}, day), " ", el("span", {}, clock));
  }

  function ago(at) {
    const passed = Math.max(0, Math.round(Date.now() / 1000 - at));
    if (passed < 90) return `${passed} s ago`;
    if (passed < 5400) return `${Math.round(passed / 60)} min ago`;
    if (passed < 129600) return `${Math.round(passed / 3600)} h ago`;
    return `${Math.round(passed / 86400)} days ago`;
  }

  /* A name may be written from right to left, or try to turn the rest of its line around. */
  function name(text, otherwise) {
    return text ? el("bdi", { class: "name" }, text) : el("span", { class: "faint" }, otherwise || "no name");
  }

  function itemLink(row) {
    return el("a", { href: `#item/${row.store}/${row.item}`, class: "item-link" }, name(row.name, "no name"));
  }

  /* The item's number; where there is no room for a column of stores, the store too. */
  function under(row) {
    return el("span", { class: "sub" }, String(row.item),
      el("span", { class: "narrow" }, " · ", el("bdi", {}, Data.storeName(row.store))));
  }

  function itemCell(row) {
    // Where there is no room for the column of states, those that somebody should know of.
    const trouble = row.flags === undefined || !row.flags ? null
      : el("span", { class: "narrow" }, states(row.flags));
    return el("div", {}, itemLink(row), under(row), trouble);
  }

  function store(id) {
    return el("bdi", { class: "store" }, Data.storeName(id));
  }

  /* ------------------------------------------------------------------ states, each with a sign */

  const STATES = {
    negative: ["bad", "▼", "negative"],
    none: ["bad", "○", "none available"],
    out_of_stock: ["bad", "○", "out of stock"],
    below: ["warn", "◆", "below safety stock"],
    below_safety_stock: ["warn", "◆", "below safety stock"],
    fine: ["good", "●", "in stock"],
    uncounted: ["plain", "?", "never counted"],
    unknown: ["plain", "?", "not in the lists"],
    restated: ["plain", "↻", "restated"],
    late: ["plain", "↷", "came late"],
    open: ["plain", "●", "open"],
    partly_collected: ["warn", "◐", "partly collected"],
  };

  function state(kind) {
    const [tone, sign, text] = STATES[kind] || ["plain", "", String(kind)];
    return el("span", { class: `state ${tone}` }, el("span", { "aria-hidden": "true" }, sign), text);
  }

  function states(flags) {
    const kinds = flags & Data.FLAGS.negative ? ["negative"]
      : flags & Data.FLAGS.none ? ["none"]
        : flags & Data.FLAGS.below ? ["below"] : ["fine"];
    if (flags & Data.FLAGS.uncounted) kinds.push("uncounted");
    if (flags & Data.FLAGS.unknown) kinds.push("unknown");
    return el("span", { class: "states" }, kinds.map(state));
  }

  /* ------------------------------------------------------------------ tables */

  /* Head and body of a small table, from columns [title, class, cell of row]. */
  function fill(table, columns, rows) {
    table.tHead.replaceChildren(el("tr", {}, columns.map(([title, kind]) =>
      el("th", { scope: "col", class: kind }, title))));
    table.tBodies[0].replaceChildren(...rows.map((row) => el("tr", {}, columns.map(([, kind, cell], place) =>
      el(place ? "td" : "th", { class: kind, scope: place ? null : "row" }, cell(row))))));
  }

  let tables = 0;

  /* A table that asks its source for one page of rows at a time.
     columns: {title, name, cell(row), kind, sorts}; filters: {name, label, options()}. */
  class Table {
    constructor(place, options) {
      this.options = options;
      this.text = "";
      this.filters = Object.fromEntries((options.filters || []).map((filter) => [filter.name, ""]));
      const id = `table-${(tables += 1)}`;
      this.status = el("p", { class: "progress", role: "status" });
      const tools = this.tools(id);
      const table = el("table", { id, class: "data" }, el("caption", { class: "quiet" }, options.caption));
      const scroller = el("div", { class: "scroller", role: "region", "aria-label": `Table: ${options.caption}`, tabindex: "0" }, table);
      const after = el("div", { class: "after" });
      if (tools) tools.append(this.status);
      place.append(...[tools, scroller, after].filter(Boolean));
      this.element = table;
      this.dt = new DataTable(table, {
        serverSide: true,
        searching: false,
        processing: false,
        autoWidth: false,
        ordering: options.columns.some((column) => column.sorts !== false),
        order: options.order || [],
        orderMulti: false,
        pageLength: options.length || 10,
        lengthChange: false,
        columns: options.columns.map((column, at) => ({
          title: column.title,
          data: null,
          name: column.name,
          className: column.kind || "",
          orderable: column.sorts !== false,
          orderSequence: column.kind && column.kind.includes("number") ? ["desc", "asc", ""] : ["asc", "desc", ""],
          cellType: at === 0 ? "th" : "td",
          render: (_, type, row) => (type === "display" ? wrap(column.cell(row)) : ""),
          createdCell: (cell) => { if (at === 0) cell.setAttribute("scope", "row"); },
        })),
        layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null, bottom: null },
        language: {
          emptyTable: options.empty,
          zeroRecords: options.empty,
          loadingRecords: "reading …",
          aria: { orderable: ": sort", orderableReverse: ": sort the other way", orderableRemove: ": as before" },
        },
        ajax: (request, answer) => this.ask(request, answer),
        drawCallback: () => this.refocus(),
      });
      for (const cell of table.tHead.querySelectorAll("th")) cell.setAttribute("scope", "col");
      this.pager(after, id);
    }

    tools(id) {
      const { options } = this;
      const parts = [];
      if (options.search) {
        const input = el("input", { type: "search", id: `${id}-search`, autocomplete: "off", spellcheck: "false" });
        let timer = 0;
        input.addEventListener("input", () => {
          clearTimeout(timer);
          timer = setTimeout(() => {
            this.text = input.value;
            this.dt.ajax.reload();
          }, 200);
        });
        parts.push(el("div", { class: "field grow" }, el("label", { for: input.id }, options.search), input));
        this.input = input;
      }
      for (const filter of options.filters || []) {
        const select = el("select", { id: `${id}-${filter.name}` });
        select.addEventListener("change", () => {
          this.filters[filter.name] = select.value;
          this.dt.ajax.reload();
        });
        filter.select = select;
        parts.push(el("div", { class: "field" }, el("label", { for: select.id }, filter.label), select));
      }
      this.choices();
      return parts.length ? el("div", { class: "tools", role: "search", "aria-label": `Search: ${options.caption}` }, parts) : null;
    }

    /* The choices of the filters may change with the moment. */
    choices() {
      for (const filter of this.options.filters || []) {
        const chosen = this.filters[filter.name];
        const choices = [["", filter.all], ...filter.options()];
        filter.select.replaceChildren(...choices.map(([value, text]) => el("option", { value }, text)));
        filter.select.value = choices.some(([value]) => value === chosen) ? chosen : "";
        this.filters[filter.name] = filter.select.value;
      }
    }

    async ask(request, answer) {
      const { options } = this;
      const order = request.order.length
        ? [options.columns[request.order[0].column].name, request.order[0].dir] : null;
      const asked = (this.asked = {});
      const slow = setTimeout(() => { if (this.asked === asked) this.say("searching …"); }, 250);
      const progress = (done, all) => {
        if (this.asked === asked && this.status.textContent) this.say(`searching … ${done} of ${all} files`);
      };
      let found = { total: 0, rows: [] };
      try {
        found = await options.source.page(
          options.question({ text: this.text, filters: this.filters, order }),
          request.start, request.length, progress);
      } catch (error) {
        if (!(error instanceof Data.Missing)) throw error;
        if (this.asked === asked) this.failed(error);
        return;
      } finally {
        clearTimeout(slow);
        if (this.asked === asked) this.say("");
      }
      if (this.asked !== asked) return;
      this.tries = 0;
      answer({ draw: request.draw, recordsTotal: found.total, recordsFiltered: found.total, data: found.rows });
      this.describe(request.start, found);
    }

    /* A file of this moment is gone: it is not the latest moment any more. */
    failed(error) {
      this.tries = (this.tries || 0) + 1;
      if (this.tries > 3) {
        this.say(error.message);
        return;
      }
      setTimeout(async () => {
        if (!(await Page.refresh())) this.dt.ajax.reload(null, false);
      }, 300 * this.tries);
    }

    say(text) {
      if (this.status.textContent !== text) this.status.textContent = text;
    }

    pager(after, id) {
      const button = (text, label, go) => {
        const made = el("button", { type: "button", "aria-controls": id, "aria-label": label }, text);
        made.addEventListener("click", () => this.dt.page(go()).draw("page"));
        return made;
      };
      const at = () => this.dt.page();
      const last = () => Math.max(0, this.dt.page.info().pages - 1);
      this.info = el("p", { class: "info", role: "status" });
      this.buttons = {
        first: button("«", "first page", () => 0),
        before: button("‹", "page before", () => Math.max(0, at() - 1)),
        after: button("›", "next page", () => Math.min(last(), at() + 1)),
        last: button("»", "last page", last),
      };
      this.pages = el("span", { class: "pages" });
      this.nav = el("nav", { class: "pager", "aria-label": `Pages of: ${this.options.caption}` },
        this.buttons.first, this.buttons.before, this.pages, this.buttons.after, this.buttons.last);
      after.append(this.info, this.nav);
    }

    describe(start, found) {
      const length = this.options.length || 10;
      const pages = Math.ceil(found.total / length);
      const page = Math.floor(start / length);
      this.info.textContent = found.total
        ? `${whole.format(start + 1)} to ${whole.format(start + found.rows.length)} of ${whole.format(found.total)}`
        : "";
      this.nav.hidden = pages < 2;
      this.pages.textContent = `page ${whole.format(page + 1)} of ${whole.format(pages)}`;
      for (const name of ["first", "before"]) this.buttons[name].disabled = page === 0;
      for (const name of ["after", "last"]) this.buttons[name].disabled = page >= pages - 1;
    }

    /* Draw again, on the page where it is; who is in the table with the keyboard stays there. */
    redraw() {
      const inside = document.activeElement;
      this.focused = this.element.tBodies[0].contains(inside) ? inside.getAttribute("href") : null;
      this.choices();
      this.dt.ajax.reload(null, false);
    }

    refocus() {
      if (!this.focused) return;
      const link = [...this.element.querySelectorAll("tbody a")]
        .find((each) => each.getAttribute("href") === this.focused);
      this.focused = null;
      if (link) link.focus({ preventScroll: true });
    }
  }

  /* DataTables takes text for markup; an element it takes as it is. */
  function wrap(content) {
    return content instanceof Node ? content : el("span", {}, String(content));
  }

  return { el, number, change, time, stamp, ago, name, itemCell, under, store, state, states, fill, unknown, Table, whole };
})();
