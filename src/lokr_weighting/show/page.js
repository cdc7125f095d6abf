"use strict";

// Tables: a click on a heading sorts upwards, then downwards, then as it was.
const collator = new Intl.Collator("en", { numeric: true });
const numberIn = (text) => {
  const found = /^[<~]?\s*([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/.exec(text.replaceAll(",", ""));
  return found ? Number(found[1]) : null;
};
const compare = (a, b) => {
  const [x, y] = [numberIn(a), numberIn(b)];
  return x !== null && y !== null && x !== y ? x - y : collator.compare(a, b);
};
const ORDERS = { none: "ascending", ascending: "descending", descending: "none" };

for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    const text = (row) => row.cells[column].textContent.trim();
    const missing = (row) => ["", "-"].includes(text(row));
    const numbers = original.some((row) => numberIn(text(row)) !== null);
    const last = (row) => missing(row) || (numbers && numberIn(text(row)) === null);
    button.addEventListener("click", () => {
      const order = ORDERS[heading.getAttribute("aria-sort")];
      headings.forEach((each) => each.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const sorted = [...original].sort(
        (a, b) => last(a) - last(b) || sign * compare(text(a), text(b)),
      );
      body.append(...(order === "none" ? original : sorted));
    });
  });
}

// Figures: the pointer, or the arrow keys, show a cell's numbers.
const grids = JSON.parse(document.getElementById("grids")?.textContent ?? "{}");
const tip = document.getElementById("tip");
const hide = () => {
  tip.hidden = true;
  for (const mark of document.querySelectorAll(".mark")) mark.hidden = true;
};

for (const area of document.querySelectorAll(".cells")) {
  const grid = grids[area.dataset.grid];
  const [rows, columns] = [grid.rows.length, grid.columns.length];
  const mark = area.appendChild(document.createElement("div"));
  mark.className = "mark";
  mark.hidden = true;
  const at = { row: 0, column: 0 };
  const show = (row, column, keys = false) => {
    at.row = Math.min(Math.max(row, 0), rows - 1);
    at.column = Math.min(Math.max(column, 0), columns - 1);
    hide();
    const fromTop = area.dataset.flipped ? rows - 1 - at.row : at.row;
    mark.style.left = `${(100 * at.column) / columns}%`;
    mark.style.top = `${(100 * fromTop) / rows}%`;
    mark.style.width = `${100 / columns}%`;
    mark.style.height = `${100 / rows}%`;
    mark.hidden = false;
    if (keys) mark.scrollIntoView({ block: "nearest", inline: "nearest" });
    const said = [grid.rows[at.row], grid.cells[at.row][at.column]].filter(Boolean).join(": ");
    const lines = [grid.title, grid.columns[at.column], said, grid.notes[at.column]];
    tip.textContent = lines.filter(Boolean).join("\n");
    tip.hidden = false;
    const cell = mark.getBoundingClientRect();
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const room = document.documentElement.clientWidth - width - 8;
    tip.style.left = `${Math.max(8, Math.min(cell.left + cell.width / 2 - width / 2, room))}px`;
    // above the cell; where there is no room, below it
    const above = cell.top - height - 8;
    tip.style.top = `${above >= 8 ? above : cell.bottom + 8}px`;
  };
  const follow = (event) => {
    const box = area.getBoundingClientRect();
    const down = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const across = Math.floor(((event.clientX - box.left) / box.width) * columns);
    show(area.dataset.flipped ? rows - 1 - down : down, across);
  };
  const upwards = area.dataset.flipped ? 1 : -1;
  const steps = {
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
    ArrowUp: [upwards, 0],
    ArrowDown: [-upwards, 0],
  };
  area.addEventListener("pointermove", follow);
  area.addEventListener("pointerdown", follow);
  // a finger leaves at once; what it touched stays to be read
  area.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  area.addEventListener("focus", () => {
    if (area.matches(":focus-visible")) show(at.row, at.column, true);
  });
  area.addEventListener("blur", hide);
  area.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    show(at.row + step[0], at.column + step[1], true);
  });
}
document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
document.addEventListener(
  "scroll",
  () => document.querySelector(".cells:focus-visible") ?? hide(),
  { capture: true, passive: true },
);
