// Makes tables sortable and searchable (DataTables), also for print.
(function () {
  "use strict";
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
  // A DataTable whose pages are named after its caption, so that each landmark of a page is distinct.
  function dataTable(table, options) {
    var made = new DataTable(table, options), caption = table.caption ? table.caption.textContent : "";
    made.table().container().querySelectorAll("nav").forEach(function (nav) {
      nav.setAttribute("aria-label", "Pages of the table: " + caption);
    });
    return made;
  }
  window.draftmark = { tableOptions: tableOptions, dataTable: dataTable };

  function sortable(table) {
    dataTable(table, tableOptions(table.tBodies[0].rows.length));
  }

  function linked(text, address, kind) {
    var link = document.createElement("a");
    link.href = document.body.dataset.top + address;
    link.textContent = text;
    link.className = kind || "";
    return link;
  }

  function note(words) {
    var made = document.createElement("p");
    made.className = "note";
    made.textContent = words;
    return made;
  }

  // A number with four decimals; a small one with two digits, a large one with none after the point.
  function shown(value) {
    if (value === null) { return "–"; }
    var size = Math.abs(value);
    return size && size < 0.01 ? value.toPrecision(2) : value.toFixed(size < 1000 ? 4 : 0);
  }

  // Rows [quantity, its place, condition, value, low, high, n] of [name, place, [condition, ...numbers]].
  function rowsOf(numbers) {
    return numbers.quantities.flatMap(function (quantity) {
      return quantity[2].map(function (row) {
        var n = row.length > 4 ? row[4] : numbers.n;
        return [quantity[0], quantity[1], numbers.conditions[row[0]]].concat(row.slice(1, 4), n);
      });
    });
  }

  function numbers(table, data) {
    var digits = function (value, kind) {
      return kind === "display" ? shown(value) : value === null ? "" : value;
    };
    var text = DataTable.render.text(), rows = rowsOf(data);
    var known = rows.some(function (row) { return row[4] !== null || row[5] !== null; });
    if (!known) { table.parentNode.after(note("Left out: low, high (no number has an interval).")); }
    dataTable(table, {
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
        { data: 4, className: "r", render: digits, visible: known },
        { data: 5, className: "r", render: digits, visible: known },
        { data: 6, className: "r" },
      ],
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    DataTable.ext.errMode = "throw";
    var data = document.getElementById("data");
    var payload = data ? JSON.parse(data.textContent) : {};
    document.querySelectorAll("table[data-sortable]").forEach(sortable);
    var all = document.getElementById("all-numbers");
    if (all) { numbers(all, payload.numbers); }
    document.documentElement.dataset.ready = "yes";
  });

  // Paper has all rows of a table.
  var lengths = [];
  window.addEventListener("beforeprint", function () {
    lengths = DataTable.tables().map(function (table) {
      var api = new DataTable.Api(table), length = api.page.len();
      api.page.len(-1).draw(false);
      return [api, length];
    });
  });
  window.addEventListener("afterprint", function () {
    lengths.forEach(function (pair) { pair[0].page.len(pair[1]).draw(false); });
  });
})();
