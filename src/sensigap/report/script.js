"use strict";
// Marks that tell their network, tables that sort and filter. Without it the page can be read as well.
(() => {
  const told = document.getElementById("explorer");
  const data = told ? JSON.parse(told.textContent) : { columns: [], networks: [], figures: {} };
  // where figures are as wide as a column
  const source = document.querySelector("picture source");
  const narrow = window.matchMedia(source ? source.media : "not all");

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const said = (value) =>
    value === null ? "–" : typeof value === "number" ? String(value).replace("-", "−") : String(value);

  // ---- marks of figures
  const HIT = 20; // pixels from a mark within which it is told

  function card(ids) {
    const rows = ids.map((id) => data.networks[id]);
    const table = make("table", {});
    data.columns.forEach((name, column) => {
      const values = rows.map((row) => row[column]);
      if (values.every((value) => value === null || value === "")) return;
      const cells = values.map((value) => make("td", { text: said(value) }));
      table.append(make("tr", {}, make("th", { scope: "row", text: name }), ...cells));
    });
    return table;
  }
  const sentence = (ids) =>
    ids
      .map((id) => data.columns.map((name, k) => [name, data.networks[id][k]]))
      .map((pairs) =>
        pairs
          .filter(([, value]) => value !== null && value !== "")
          .map(([name, value]) => `${name} ${said(value)}`)
          .join(", "))
      .join("; against ");

  function explore(figure, { panels, places }) {
    const plot = figure.querySelector(".plot");
    const ring = make("div", { class: "ring", hidden: "" });
    const tip = make("div", { class: "tip", hidden: "" });
    plot.append(ring, tip);
    // a tip that stays can be copied from; another lets the pointer through to marks below it
    const pinned = () => tip.classList.contains("pinned");
    const pin = (stays) => tip.classList.toggle("pinned", stays);

    const here = () => places[narrow.matches ? "column" : "page"];
    const hide = () => {
      pin(false);
      ring.hidden = tip.hidden = true;
    };
    function show(panel, mark) {
      const { width, height } = plot.getBoundingClientRect();
      const x = here()[panel].x[mark] * width;
      const y = here()[panel].y[mark] * height;
      ring.style.left = `${x}px`;
      ring.style.top = `${y}px`;
      tip.replaceChildren(card(panels[panel].networks[mark]));
      ring.hidden = tip.hidden = false;
      // to the side with more room, and never beyond the plot's edges
      const room = width - tip.offsetWidth;
      const left = x + 14 <= room ? x + 14 : Math.max(0, Math.min(room, x - 14 - tip.offsetWidth));
      tip.style.left = `${left}px`;
      tip.style.top = `${y + 14}px`;
    }
    function nearest(event) {
      const box = plot.getBoundingClientRect();
      const x = event.clientX - box.left;
      const y = event.clientY - box.top;
      let best = { distance: HIT };
      here().forEach((place, panel) => {
        const [left, top, right, bottom] = place.box;
        if (x < left * box.width - HIT || x > right * box.width + HIT) return;
        if (y < top * box.height - HIT || y > bottom * box.height + HIT) return;
        place.x.forEach((mark, k) => {
          const distance = Math.hypot(mark * box.width - x, place.y[k] * box.height - y);
          if (distance < best.distance) best = { distance, panel, mark: k };
        });
      });
      return best;
    }
    plot.addEventListener("pointermove", (event) => {
      if (pinned()) return;
      const { panel, mark } = nearest(event);
      if (panel === undefined) hide();
      else show(panel, mark);
    });
    plot.addEventListener("pointerleave", () => pinned() || hide());
    plot.addEventListener("click", (event) => {
      if (tip.contains(event.target)) return;
      const { panel, mark } = nearest(event);
      hide();
      if (panel === undefined) return;
      show(panel, mark);
      pin(true);
    });
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
    narrow.addEventListener("change", hide);

    // by keyboard: a slider goes through the marks of a panel from left to right
    const select = make("select", {});
    panels.forEach((panel, k) => select.append(make("option", { value: k, text: panel.label })));
    const slider = make("input", { type: "range", min: 0, value: 0 });
    let order = [];
    const reset = () => {
      const { x } = here()[select.value];
      order = [...x.keys()].sort((a, b) => x[a] - x[b]);
      slider.max = Math.max(order.length - 1, 0);
      slider.value = 0;
      tell(false);
    };
    function tell(shown) {
      if (!order.length) return;
      const mark = order[slider.value];
      slider.setAttribute("aria-valuetext", sentence(panels[select.value].networks[mark]));
      if (!shown) return;
      show(Number(select.value), mark);
      pin(true);
    }
    select.addEventListener("change", reset);
    slider.addEventListener("input", () => tell(true));
    slider.addEventListener("focus", () => tell(true));
    slider.addEventListener("blur", hide);
    reset();
    const walk = make("p", { class: "walk" },
      make("span", { text: "Point at a mark, or go through them: " }),
      make("label", { text: "panel " }, select), " ",
      make("label", { text: "mark " }, slider));
    plot.after(walk);
  }
  for (const [name, marks] of Object.entries(data.figures)) {
    const figure = document.getElementById(`figure-${name}`);
    if (figure) explore(figure, marks);
  }

  // ---- tables
  const number = (text) => {
    const found = /^[<≈]?\s*([−-]?[\d,]*\.?\d+(?:e[−+-]?\d+)?)/i.exec(text);
    return found ? Number(found[1].replace(/−/g, "-").replace(/,/g, "")) : NaN;
  };
  const key = (cell) => (cell.firstChild ? cell.firstChild.textContent : "").trim();
  function compare(a, b, sign) {
    const [x, y] = [number(a), number(b)];
    if (!isNaN(x) && !isNaN(y)) return sign * (x - y);
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1; // what has no number stands last
    return sign * a.localeCompare(b);
  }
  function headers(table, sort) {
    const cells = [...table.tHead.rows[0].cells];
    cells.forEach((cell, column) => {
      const button = make("button", { type: "button", class: "sort" });
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "ascending";
        cells.forEach((other) => other.removeAttribute("aria-sort"));
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(column, down ? -1 : 1);
      });
    });
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    headers(table, (column, sign) => {
      const body = table.tBodies[0];
      const rows = [...body.rows];
      const keys = new Map(rows.map((row) => [row, key(row.cells[column])]));
      rows.sort((a, b) => compare(keys.get(a), keys.get(b), sign));
      body.append(...rows);
    });
  }

  // words that must all stand in a row
  const words = (query) => query.toLowerCase().split(/\s+/).filter(Boolean);
  function search(label, hint, act) {
    const field = make("input", { type: "search", placeholder: hint });
    let wait;
    field.addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(() => act(field.value), 120);
    });
    return make("p", { class: "search" }, make("label", { text: `${label} ` }, field));
  }
  for (const section of document.querySelectorAll("section[data-search]")) {
    const rows = [...section.querySelectorAll("table.sortable tbody tr")];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const folds = [...section.querySelectorAll(":scope > details")];
    const count = make("span", { class: "quiet", role: "status" });
    const field = search("Rows with", section.dataset.search, (query) => {
      const wanted = words(query);
      let shown = 0;
      rows.forEach((row, k) => {
        row.hidden = !wanted.every((word) => texts[k].includes(word));
        shown += !row.hidden;
      });
      count.textContent = wanted.length ? ` ${shown} of ${rows.length} rows` : "";
      if (!wanted.length) return;
      folds.forEach((fold) => (fold.open = !!fold.querySelector("table.sortable tbody tr:not([hidden])")));
    });
    field.append(count);
    section.querySelector("h2").after(field);
  }

  // ---- the table of all networks
  const place = document.getElementById("all-networks");
  if (place && data.networks.length) {
    const STEP = 50;
    const texts = data.networks.map((row) => row.map(said).join(" ").toLowerCase());
    let rows = data.networks.map((_, k) => k);
    let order = null;
    let most = STEP;
    const head = make("tr", {}, ...data.columns.map((name) => make("th", { scope: "col", text: name })));
    const body = make("tbody", {});
    const table = make("table", { class: "wide" }, make("thead", {}, head), body);
    const count = make("span", { class: "quiet", role: "status" });
    const more = make("button", { type: "button", text: `${STEP} more` });
    const draw = () => {
      body.replaceChildren(...rows.slice(0, most).map((k) =>
        make("tr", {}, ...data.networks[k].map((value, column) =>
          make(column === 1 ? "th" : "td", {
            text: said(value),
            ...(column === 1 ? { scope: "row" } : typeof value === "number" ? { class: "number" } : {}),
          })))));
      count.textContent = ` ${rows.length.toLocaleString("en")} of ` +
        `${data.networks.length.toLocaleString("en")} networks`;
      more.hidden = rows.length <= most;
    };
    const sorted = () => {
      if (!order) return;
      const [column, sign] = order;
      const value = (k) => data.networks[k][column];
      rows.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y)));
      });
    };
    // 'relu gap>0.3': words, and bounds of a column by its name, or what is found in a name
    const bound = /^([a-z_]+)(<=|>=|<|>|=)(.+)$/;
    const meets = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b,
      ">=": (a, b) => a >= b, "=": (a, b) => a === b || String(a) === String(b) };
    const test = (word) => {
      const found = bound.exec(word);
      const names = data.columns.map((name) => name.replace(/ /g, "_").toLowerCase());
      const exact = found ? names.indexOf(found[1]) : -1;
      const column = exact < 0 && found ? names.findIndex((name) => name.includes(found[1])) : exact;
      if (column < 0) return (k) => texts[k].includes(word);
      const limit = isNaN(Number(found[3])) ? found[3] : Number(found[3]);
      return (k) => data.networks[k][column] !== null && meets[found[2]](data.networks[k][column], limit);
    };
    const field = search("Networks with", "relu status=fitted gap>0.3", (query) => {
      const tests = words(query).map(test);
      rows = data.networks.map((_, k) => k).filter((k) => tests.every((passes) => passes(k)));
      most = STEP;
      sorted();
      draw();
    });
    headers(table, (column, sign) => {
      order = [column, sign];
      sorted();
      draw();
    });
    more.addEventListener("click", () => {
      most += STEP;
      draw();
    });
    field.append(count);
    place.append(field, make("div", { class: "scroll", role: "region", tabindex: "0",
      "aria-label": "All networks" }, table), more);
    draw();
  }
})();
