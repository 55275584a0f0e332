// Makes tables sortable and filterable (DataTables), and shows examples token by token.
(function () {
  "use strict";
  var WORDS = { a: "accepted", r: "the target's token in place of a rejected one", b: "bonus token", n: "not drafted" };
  var LANGUAGE = {
    search: "Search", lengthMenu: "_MENU_ a page", info: "_START_ to _END_ of _TOTAL_",
    infoEmpty: "none", infoFiltered: "(of _MAX_)", zeroRecords: "Nothing matches.", emptyTable: "Nothing here.",
  };

  function sortable(table) {
    var long = table.tBodies[0].rows.length > 30;
    return new DataTable(table, {
      paging: long, pageLength: 25, lengthMenu: [25, 100, 500], searching: long, info: long,
      order: [], autoWidth: false, language: LANGUAGE,
    });
  }

  function linked(text, address, kind) {
    var link = document.createElement("a");
    link.href = document.body.dataset.top + address;
    link.textContent = text;
    link.className = kind || "";
    return link;
  }

  // A cell of the front page's table: a name with its page, a number with its definition, or text.
  function entry(item, kind) {
    if (kind !== "display") {
      if (typeof item === "string") { return item === "-" || item === "failed" ? "" : item; }
      return kind === "filter" ? String(item[item.length > 2 ? 1 : 0]) : item[0];
    }
    var made = document.createElement("span");
    if (typeof item === "string") {
      made.textContent = item === "-" ? "–" : item;
      made.className = item === "-" ? "none" : item === "failed" ? "failed" : "";
    } else if (item.length === 2) {
      return linked(item[0], item[1]);
    } else {
      var interval = document.createElement("span");
      interval.className = "ci";
      interval.textContent = item[2];
      made.append(linked(item[1], item[3], "num"), " ", interval);
    }
    return made;
  }

  function overview(table, rows) {
    var form = document.getElementById("filters");
    var made = new DataTable(table, {
      data: rows, deferRender: true, order: [], paging: rows.length > 25, pageLength: 25,
      lengthMenu: [25, 100, 500], language: LANGUAGE, autoWidth: false,
      columns: Array.from(table.tHead.rows[0].cells, function (head, place) {
        return {
          data: place, className: head.className, render: entry, cellType: place ? "td" : "th",
          createdCell: function (cell) { if (!place) { cell.scope = "row"; } },
        };
      }),
    });
    form.hidden = !form.querySelector("select");
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("change", function () {
      var chosen = {};
      form.querySelectorAll("select").forEach(function (select) {
        chosen[select.parentNode.firstChild.textContent.trim().toLowerCase()] = select.value;
        made.column(Number(select.dataset.column)).search(select.value, { exact: select.value !== "" });
      });
      made.draw();
      var more = document.querySelector(".more");
      if (more) { more.open = Object.values(chosen).some(Boolean); }
      document.querySelectorAll(".card").forEach(function (card) {
        card.hidden = ["task", "pair", "run"].some(function (name) {
          return chosen[name] && card.dataset[name] !== chosen[name];
        });
      });
    });
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
    var table = document.getElementById("overview");
    if (table) { overview(table, payload.rows); }
    var all = document.getElementById("all-numbers");
    if (all) { numbers(all, payload.numbers); }
    var place = document.getElementById("examples-here");
    if (place) { payload.examples.forEach(function (item, n) { place.appendChild(example(item, n === 0)); }); }
    document.documentElement.dataset.ready = "yes";
  });
})();
