"use strict";
(() => {
  const table = document.querySelector("main table");
  const models = [...table.tBodies];
  const heads = [...table.tHead.rows[0].cells];
  const tools = document.forms[0];
  const collator = new Intl.Collator("en", { numeric: true });
  document.documentElement.classList.add("js");

  // What a model is sorted by in a column; null is missing, and last whichever way it goes.
  function key(model, column) {
    const cell = model.rows[0].cells[column];
    if (heads[column].dataset.kind === "number")
      return cell.dataset.sort === "" ? null : Number(cell.dataset.sort);
    const text = cell.textContent.trim();
    return text === "–" ? null : text;
  }

  function sort(column) {
    const head = heads[column];
    const direction = head.ariaSort === "ascending" ? "descending" : "ascending";
    for (const other of heads) other.ariaSort = other === head ? direction : "none";
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = models.map((model) => [key(model, column), model]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      if (a === b) return 0;
      return sign * (typeof a === "number" ? a - b : collator.compare(a, b));
    });
    table.append(...keyed.map(([, model]) => model));
  }

  function filter() {
    const status = tools.elements.status.value;
    const text = tools.elements.text.value.trim().toLowerCase();
    let shown = 0;
    for (const model of models) {
      model.hidden =
        (status !== "" && !model.classList.contains(status)) ||
        !model.rows[0].textContent.toLowerCase().includes(text);
      shown += !model.hidden;
    }
    tools.querySelector("[role=status]").textContent =
      shown === models.length ? "" : `${shown} of ${models.length} ${table.dataset.rows}`;
  }

  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => sort(column)));
  for (const model of models) {
    const button = model.querySelector("button");
    button.addEventListener("click", () => {
      button.ariaExpanded = String(model.classList.toggle("open"));
    });
  }
  tools.addEventListener("input", filter);
  tools.addEventListener("submit", (event) => event.preventDefault());
  filter(); // a reloaded page keeps what its fields held
})();
