// Makes tables sortable and filterable (DataTables), and shows examples token by token.
(function () {
  "use strict";
  var WORDS = { a: "accepted", r: "the target's token in place of a rejected one", b: "bonus token", n: "not drafted" };
  var LANGUAGE = {
    search: "Search", lengthMenu: "_MENU_ a page", info: "_START_ to _END_ of _TOTAL_",
    infoEmpty: "none", infoFiltered: "(of _MAX_)", zeroRecords: "Nothing matches.", emptyTable: "Nothing here.",
  };

  function tableOptions(rows) {
    var long = rows > 30;
    return {
      paging: long, pageLength: 25, lengthMenu: [25, 100, 500], searching: long, info: long,
      order: [], autoWidth: false, language: LANGUAGE,
    };
  }
  window.draftmark = { tableOptions: tableOptions };

  function sortable(table) {
    return new DataTable(table, tableOptions(table.tBodies[0].rows.length));
  }

  function linked(text, address, kind) {
    var link = document.createElement("a");
    link.href = document.body.dataset.top + address;
    link.textContent = text;
    link.className = kind || "";
    return link;
  }

  function numbers(table, rows) {
    var digits = function (value, kind) {
      return kind === "display" ? (value === null ? "–" : value.toFixed(4)) : value === null ? "" : value;
    };
    var text = DataTable.render.text();
    new DataTable(table, {
      data: rows, order: [], pageLength: 25, lengthMenu: [10, 25, 100, 500], deferRender: true,
      autoWidth: false, language: LANGUAGE,
      columns: [
        {
          data: 0, className: "l",
          render: function (name, kind, row) {
            if (kind !== "display") { return name; }
            return linked(name, "definitions.html#" + row[1], "num");
          },
        },
        { data: 2, className: "l", render: text }, { data: 3, className: "r", render: digits },
        { data: 4, className: "r", render: digits }, { data: 5, className: "r", render: digits },
        { data: 6, className: "r" },
      ],
    });
  }

  function token(piece, mark) {
    var made = document.createElement("span"), kind = mark.toLowerCase();
    var shade = /[0-9]/.test(mark);
    made.className = "t " + (shade ? "p" + mark : kind) + (mark !== kind ? " start" : "");
    made.textContent = piece.replace(/\n/g, "⏎\n");
    made.title = shade ? "accepted with probability 0." + mark + " to " + (mark === "9" ? "1" : "0." + (Number(mark) + 1)) : WORDS[kind];
    return made;
  }

  function example(item, open) {
    var box = document.createElement("details"), summary = document.createElement("summary");
    box.open = open;
    box.className = "example";
    var kept = (item.marks.match(/a/gi) || []).length;
    var certain = !/[0-9]/.test(item.marks);
    summary.textContent = item.id + ", temperature " + item.temperature + ": " + item.pieces.length + " tokens" +
      (certain ? ", " + kept + " drafted and accepted" : "");
    var prompt = document.createElement("pre"), answer = document.createElement("p");
    prompt.className = "prompt";
    prompt.tabIndex = 0;
    prompt.textContent = item.prompt;
    answer.className = "tokens";
    item.pieces.forEach(function (piece, place) { answer.appendChild(token(piece, item.marks[place] || "n")); });
    box.append(summary, prompt, answer);
    return box;
  }

  document.addEventListener("DOMContentLoaded", function () {
    DataTable.ext.errMode = "throw";
    var data = document.getElementById("data");
    var payload = data ? JSON.parse(data.textContent) : {};
    document.querySelectorAll("table[data-sortable]").forEach(sortable);
    var all = document.getElementById("all-numbers");
    if (all) { numbers(all, payload.numbers); }
    var place = document.getElementById("examples-here");
    if (place) { payload.examples.forEach(function (item, n) { place.appendChild(example(item, n === 0)); }); }
    document.documentElement.dataset.ready = "yes";
  });
})();
