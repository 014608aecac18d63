// The form of "Try it", and of an answer: lists that grow and shrink, optional groups that open, and tidy JSON. Without this script the
// form still works, with the items that the server drew.
(() => {
  "use strict";
  const NEW_ITEM = "__new__"; // as runs/schema_form.py writes it

  const form = document.querySelector("[data-tryit]");
  if (!form) return;

  // Names of a new item: the first placeholder behind the list's own name is its number, those of lists inside stay.
  function number(part, list, index) {
    const from = `${list}/${NEW_ITEM}`, to = `${list}/${index}`;
    const dashed = (text) => text.replaceAll("/", "-").replaceAll("%", "_");
    for (const element of part.querySelectorAll("*")) {
      for (const name of ["name", "data-array"]) {
        const value = element.getAttribute(name);
        if (value?.startsWith(from)) element.setAttribute(name, to + value.slice(from.length));
      }
      for (const name of ["id", "for", "aria-describedby"]) {
        const value = element.getAttribute(name);
        if (value?.startsWith(dashed(from))) element.setAttribute(name, dashed(to) + value.slice(dashed(from).length));
      }
      if (element instanceof HTMLTemplateElement) number(element.content, list, index);
    }
  }

  function add(array) {
    const list = array.dataset.array;
    const items = array.querySelector(":scope > [data-items]");
    const index = Number(array.dataset.next ?? items.children.length);
    array.dataset.next = String(index + 1);
    const part = array.querySelector(":scope > template[data-blank]").content.cloneNode(true);
    number(part, list, index);
    open(part);
    const first = part.querySelector("input:not([type=hidden]), select, textarea");
    items.append(part);
    array.querySelector(":scope > [data-shown]").disabled = false;
    first?.focus();
  }

  function remove(item) {
    const array = item.closest("[data-array]");
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    (next?.querySelector("[data-remove]") ?? array.querySelector(":scope > div > [data-add]")).focus();
  }

  // An optional group that is not ticked is folded away, and what is in it is not sent.
  function open(part) {
    for (const box of part.querySelectorAll("[data-opens]")) {
      const inside = box.closest("fieldset").querySelector("[data-inside]");
      inside.hidden = !box.checked;
    }
  }

  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("add" in button.dataset) add(button.closest("[data-array]"));
    if ("remove" in button.dataset) remove(button.closest("[data-item]"));
  });
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-opens]")) open(event.target.closest("fieldset"));
  });
  // Control or Command with Enter starts the run from any field; a decision is asked for again first.
  form.addEventListener("keydown", (event) => {
    if (form.dataset.tryit !== "ask" && event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  open(form);
  const bad = form.querySelector('[aria-invalid="true"]');
  bad?.focus();
})();
