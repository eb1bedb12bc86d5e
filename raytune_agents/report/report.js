"use strict";
// Filters the error cases, keeps the filter in the address (#errors?fault=..&arm=..), opens all for print.
(() => {
  const cases = [...document.querySelectorAll("#cases > details")];
  const count = document.getElementById("count");
  const inputs = ["arm", "fault", "tool", "split", "find"].map((id) => document.getElementById(id));
  if (!count || inputs.some((input) => !input)) return;
  const [arm, fault, tool, split, find] = inputs;
  const selects = [arm, fault, tool, split];
  const label = (select) => (select.value === "" ? "" : select.selectedOptions[0].textContent);
  const texts = cases.map((c) => c.textContent.toLowerCase());

  // a mark is "arm:fault": both must be of the same answer
  function marked(c) {
    if (arm.value === "" && fault.value === "") return true;
    return c.dataset.marks.split(" ").some((mark) => {
      const [a, f] = mark.split(":");
      return (arm.value === "" || a === arm.value) && (fault.value === "" || f === fault.value);
    });
  }

  function apply() {
    const words = find.value.trim().toLowerCase();
    let shown = 0;
    cases.forEach((c, i) => {
      const keep = marked(c) && (tool.value === "" || c.dataset.tool === tool.value) &&
        (split.value === "" || c.dataset.split === split.value) &&
        (words === "" || texts[i].includes(words));
      c.hidden = !keep;
      shown += keep;
    });
    count.textContent = `${shown} shown`;
  }

  function save() {
    apply();
    const query = new URLSearchParams();
    for (const select of selects) if (select.value !== "") query.set(select.id, label(select));
    if (find.value !== "") query.set("find", find.value);
    const text = query.toString();
    history.replaceState(null, "", text ? `#errors?${text}` : "#errors");
  }

  function restore() {
    const [place, text] = location.hash.slice(1).split("?");
    if (place !== "errors" || text === undefined) return;
    const query = new URLSearchParams(text);
    for (const select of selects) {
      const option = [...select.options].find((o) => o.textContent === query.get(select.id));
      select.value = option ? option.value : "";
    }
    find.value = query.get("find") ?? "";
    apply();
    document.getElementById("errors").scrollIntoView();
  }

  inputs.forEach((input) => input.addEventListener("input", save));
  document.querySelector("form.filter").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", restore);
  addEventListener("beforeprint", () => document.querySelectorAll("details.config").forEach((d) => { d.open = true; }));
  restore();
})();
