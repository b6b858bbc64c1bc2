"use strict";
/* The data: files by script tag (file:// cannot fetch), kept while the moment that names them is
   shown, and the searches over them. Nothing here touches the page. */

const Data = (() => {
  const waiting = new Map(); // key -> {resolve, reject, promise}
  const kept = new Map(); // key -> promise of the payload
  let now = null;
  let stores = new Map(); // String(id) -> store

  class Missing extends Error {}

  window.receive = (key, payload) => {
    const request = waiting.get(key);
    if (request) request.payload = payload;
  };

  function script(key, query) {
    return new Promise((resolve, reject) => {
      const request = {};
      waiting.set(key, request);
      const tag = document.createElement("script");
      const done = (settle) => {
        waiting.delete(key);
        tag.remove();
        settle();
      };
      tag.onload = () =>
        done(() =>
          request.payload === undefined
            ? reject(new Missing(`data/${key}.js is not what it should be`))
            : resolve(request.payload));
      tag.onerror = () => done(() => reject(new Missing(`data/${key}.js cannot be read`)));
      tag.src = `data/${key}.js${query || ""}`;
      document.head.append(tag);
    });
  }

  function load(kind, number, digest) {
    const key = `${kind}/${String(number).padStart(4, "0")}.${digest}`;
    if (!kept.has(key)) {
      const promise = script(key).then((payload) => decode(kind, payload));
      promise.catch(() => kept.delete(key));
      kept.set(key, promise);
    }
    return kept.get(key);
  }

  /* The newest moment; null if it is the one that is shown. */
  async function look() {
    if (waiting.has("now")) return null;
    const found = await script("now", `?${Date.now()}`);
    if (now && found.written_at === now.written_at
        && JSON.stringify(found.tables) === JSON.stringify(now.tables)) return null;
    return found;
  }

  function show(found) {
    now = found;
    for (const store of [...now.stores, now.totals]) {
      for (const field of Object.keys(store)) {
        if (field !== "name" && field !== "channel") store[field] = exact(store[field]);
      }
    }
    decode("changed", now.changed);
    for (const name of ["stock", "names", "ledger"]) {
      if (now[name]) now[name].first = now[name].first.map(exact);
    }
    stores = new Map(now.stores.map((store) => [String(store.id), store]));
    const named = new Set();
    const name = (kind, digests) => (digests || []).forEach((digest, number) =>
      named.add(`${kind}/${String(number).padStart(4, "0")}.${digest}`));
    name("stock", now.stock.files);
    name("details", now.stock.details);
    name("names", now.names.files);
    name("ledger", now.ledger && now.ledger.files);
    for (const list of ["alerts", "orders", "sessions", "variances", "restatements"]) {
      name(list, now[list] && now[list].files);
    }
    for (const key of kept.keys()) if (!named.has(key)) kept.delete(key);
    Stock.forget();
  }

  /* A number that JavaScript cannot hold comes as text. */
  function exact(value) {
    return typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : value;
  }

  const TEXTS = new Set(["name", "order", "alert", "status", "cause"]);

  function decode(kind, columns) {
    for (const [name, values] of Object.entries(columns)) {
      if (Array.isArray(values) && !TEXTS.has(name)
          && values.some((value) => typeof value === "string")) {
        columns[name] = values.map(exact);
      }
    }
    if ("base" in columns) {
      for (const name of ["at", "changed_at", "counted_at"]) {
        if (columns[name]) {
          columns[name] = columns[name].map((at) => (at === null ? null : at + columns.base));
        }
      }
    }
    return columns;
  }

  /* Which of some ascending first numbers a number comes under. */
  function placeIn(firsts, value) {
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (firsts[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  function compare(one, other) {
    if (one === other) return 0;
    if (one === null || one === undefined) return 1; // what is not known comes last
    if (other === null || other === undefined) return -1;
    return one < other ? -1 : one > other ? 1 : 0;
  }

  /* Text as it is searched: without case and accents. */
  function folded(text) {
    return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  }

  function words(text) {
    return folded(text || "").split(/\s+/).filter(Boolean);
  }

  /* ------------------------------------------------------------------ names of items */

  const Names = {
    async block(number) {
      const block = await load("names", number, now.names.files[number]);
      if (!block.folded) {
        block.folded = block.name.map((name, place) => `${folded(name || "")} ${block.item[place]}`);
      }
      return block;
    },

    async of(item) {
      const number = placeIn(now.names.first, item);
      if (number < 0) return null;
      const block = await load("names", number, now.names.files[number]);
      const place = placeIn(block.item, item);
      return place >= 0 && block.item[place] == item ? block.name[place] : null;
    },

    async all(progress) {
      return everyOf(now.names.files, (_, number) => this.block(number), progress);
    },

    /* The numbers of the items with all these words in their name or number, ascending. */
    async search(sought, progress) {
      const found = [];
      for (const block of await this.all(progress)) {
        for (let place = 0; place < block.item.length; place += 1) {
          const text = block.folded[place];
          if (sought.every((word) => text.includes(word))) found.push(block.item[place]);
        }
      }
      return found;
    },
  };

  async function everyOf(list, take, progress) {
    let done = 0;
    return Promise.all(list.map(async (...each) => {
      const taken = await take(...each);
      done += 1;
      if (progress) progress(done, list.length);
      return taken;
    }));
  }

  /* ------------------------------------------------------------------ stock by store and item */

  const FLAGS = { negative: 1, none: 2, below: 4, uncounted: 8, unknown: 16 | 32 };
  const MANY_ITEMS = 3000; // of more, all blocks are read at once

  const Stock = {
    result: null,
    question: null,

    forget() {
      this.result = null;
      this.question = null;
    },

    block(number) {
      return load("stock", number, now.stock.files[number]);
    },

    rowIn(block, place) {
      const flags = block.flags[place];
      return {
        item: block.item[place],
        store: now.stores[block.store[place]].id,
        on_hand: block.on_hand[place],
        committed: block.committed[place],
        available: block.available[place],
        safety: block.safety[place],
        changed_at: block.changed_at[place],
        flags,
      };
    },

    /* {total, rows} of a question {store, status, text, order: [column, dir]}. */
    async page(question, start, length, progress) {
      const isPlain = !question.status && !words(question.text).length
        && question.order[0] === "item" && question.order[1] === "asc";
      const places = isPlain
        ? await this.plain(question, start, length)
        : await this.sought(question, start, length, progress);
      const rows = [];
      for (const [number, place] of places.list) {
        rows.push(this.rowIn(await this.block(number), place));
      }
      await Promise.all(rows.map(async (row) => { row.name = await Names.of(row.item); }));
      return { total: places.total, rows };
    },

    /* In the order of the items only the blocks are read that a page of rows lies in. */
    async plain(question, start, length) {
      const code = this.code(question.store);
      const counts = now.stock.rows.map((each) =>
        code === null ? each.reduce((sum, count) => sum + count, 0) : each[code] || 0);
      const total = counts.reduce((sum, count) => sum + count, 0);
      const list = [];
      let before = 0;
      for (let number = 0; number < counts.length && list.length < length; number += 1) {
        if (before + counts[number] > start) {
          const block = await this.block(number);
          let seen = before;
          for (let place = 0; place < block.item.length && list.length < length; place += 1) {
            if (code !== null && block.store[place] !== code) continue;
            if (seen >= start) list.push([number, place]);
            seen += 1;
          }
        }
        before += counts[number];
      }
      return { total, list };
    },

    async sought(question, start, length, progress) {
      const asked = JSON.stringify(question);
      if (this.question !== asked) {
        const moment = now;
        const result = await this.search(question, progress);
        if (moment !== now) throw new Missing("a newer moment has come meanwhile");
        this.question = asked;
        this.result = result;
      }
      return { total: this.result.length, list: this.result.slice(start, start + length) };
    },

    async search(question, progress) {
      const sought = words(question.text);
      const items = sought.length ? await Names.search(sought, progress) : null;
      const wanted = items && new Set(items);
      let numbers = now.stock.files.map((_, number) => number);
      if (items && items.length <= MANY_ITEMS) {
        numbers = [...new Set(items.map((item) => placeIn(now.stock.first, item)))];
      }
      const code = this.code(question.store);
      const flag = FLAGS[question.status];
      const found = [];
      const blocks = await everyOf(numbers, (number) => this.block(number), progress);
      blocks.forEach((block, index) => {
        for (let place = 0; place < block.item.length; place += 1) {
          if (code !== null && block.store[place] !== code) continue;
          if (question.status === "committed" && !(block.committed[place] > 0)) continue;
          if (question.status === "fine" && block.flags[place] & 7) continue;
          if (flag && !(block.flags[place] & flag)) continue;
          if (wanted && !wanted.has(block.item[place])) continue;
          found.push([numbers[index], place]);
        }
      });
      return this.sorted(found, new Map(numbers.map((number, index) => [number, blocks[index]])),
        question.order, progress);
    },

    async sorted(found, blocks, [column, direction], progress) {
      const sign = direction === "desc" ? -1 : 1;
      let value = ([number, place]) => blocks.get(number)[column][place];
      if (column === "name") {
        const names = new Map();
        for (const block of await Names.all(progress)) {
          block.item.forEach((item, place) => names.set(item, block.name[place] && block.folded[place]));
        }
        value = ([number, place]) => names.get(blocks.get(number).item[place]);
      } else if (column === "store") {
        value = ([number, place]) => storeName(now.stores[blocks.get(number).store[place]].id);
      }
      const keyed = found.map((entry) => [value(entry), entry]);
      keyed.sort(([one, at], [other, to]) => {
        const unknown = (one ?? null) === null || (other ?? null) === null;
        return compare(one, other) * (unknown ? 1 : sign) || at[0] - to[0] || at[1] - to[1];
      });
      return keyed.map(([, entry]) => entry);
    },

    code(store) {
      if (store === "" || store === undefined) return null;
      return now.stores.findIndex((each) => String(each.id) === store);
    },

    /* All stores' rows of one item, with the details. */
    async ofItem(item) {
      const number = placeIn(now.stock.first, item);
      if (number < 0) return [];
      const [block, details] = await Promise.all([
        this.block(number), load("details", number, now.stock.details[number]),
      ]);
      const rows = [];
      for (let place = 0; place < block.item.length; place += 1) {
        if (block.item[place] != item) continue;
        const row = this.rowIn(block, place);
        for (const name of Object.keys(details)) {
          if (name !== "base") row[name] = details[name][place];
        }
        rows.push(row);
      }
      return rows;
    },
  };

  /* ------------------------------------------------------------------ lists */

  /* A list of the manifest: {total, rows} of a question like the one above. */
  class List {
    constructor(name) {
      this.name = name;
    }

    get manifest() {
      return now[this.name];
    }

    async part(number) {
      const columns = await load(this.name, number, this.manifest.files[number]);
      if (!columns.rows) {
        const names = Object.keys(columns);
        columns.rows = columns[names[0]].map((_, place) =>
          Object.fromEntries(names.map((name) => [name, columns[name][place]])));
      }
      return columns.rows;
    }

    async page(question, start, length, progress) {
      const list = this.manifest;
      if (!list || !list.rows) return { total: 0, rows: [] };
      const sought = words(question.text);
      const filters = Object.entries(question.filters).filter(([, value]) => value !== "");
      if (!sought.length && !filters.length && !question.order) {
        const rows = [];
        const last = Math.min(start + length, list.rows);
        for (let at = start; at < last; at += 1) {
          const part = await this.part(Math.floor(at / list.part_rows));
          rows.push(part[at % list.part_rows]);
        }
        return { total: list.rows, rows };
      }
      const parts = await everyOf(list.files, (_, number) => this.part(number), progress);
      let rows = parts.flat().filter((row) => {
        if (filters.some(([name, value]) => String(row[name]) !== value)) return false;
        if (!sought.length) return true;
        const text = folded(`${row.name || ""} ${row.item} ${row.order || ""}`);
        return sought.every((word) => text.includes(word));
      });
      if (question.order) {
        const [column, direction] = question.order;
        const sign = direction === "desc" ? -1 : 1;
        const value = column === "store" ? (row) => storeName(row.store) : (row) => row[column];
        rows = rows.map((row, place) => [value(row), place, row]).sort(
          ([one, at], [other, to]) => {
            const unknown = (one ?? null) === null || (other ?? null) === null;
            return compare(one, other) * (unknown ? 1 : sign) || at - to;
          }).map(([, , row]) => row);
      }
      return { total: rows.length, rows: rows.slice(start, start + length) };
    }
  }

  /* Rows that are at hand already. */
  class Rows extends List {
    constructor(take) {
      super(null);
      this.take = take;
    }

    get manifest() {
      const rows = this.take();
      return { rows: rows.length, total: rows.length, part_rows: Math.max(rows.length, 1), files: rows.length ? [0] : [] };
    }

    async part() {
      return this.take();
    }
  }

  /* ------------------------------------------------------------------ the ledger of one key */

  /* {entries, total} of a store and item, oldest first; null while there is no ledger. */
  async function ledgerOf(store, item) {
    if (!now.ledger) return null;
    const number = placeIn(now.ledger.first, item);
    if (number < 0) return { entries: [], total: 0 };
    const block = await load("ledger", number, now.ledger.files[number]);
    const code = Stock.code(String(store));
    for (let place = 0; place < block.item.length; place += 1) {
      if (block.item[place] != item || block.store[place] !== code) continue;
      const entries = [];
      for (let at = place ? block.end[place - 1] : 0; at < block.end[place]; at += 1) {
        entries.push({
          at: block.at[at],
          kind: now.kinds[block.kind[at]],
          quantity: block.quantity[at],
          balance: block.balance[at],
        });
      }
      return { entries, total: block.total[place] };
    }
    return { entries: [], total: 0 };
  }

  function storeName(id) {
    const store = stores.get(String(id));
    if (id === null || id === undefined) return "no store";
    return (store && store.name) || `store ${id}`;
  }

  return {
    look, show, Missing, Names, Stock, List, Rows, ledgerOf, storeName, exact, FLAGS,
    get now() { return now; },
    storeOf: (id) => stores.get(String(id)),
  };
})();
