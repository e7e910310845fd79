// SPDX-License-Identifier: GPL-2.0-or-later
// Shows the rows of a table that hold what is typed. Pages are complete without it.
"use strict";
for (const input of document.querySelectorAll("input[data-rows]")) {
  const rows = [...document.querySelectorAll(`#${CSS.escape(input.dataset.rows)} tbody tr`)];
  const box = input.closest(".finder");
  const said = box.querySelector("[role=status]");
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    said.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  };
  input.addEventListener("input", apply);
  box.hidden = false;
  apply();
}
