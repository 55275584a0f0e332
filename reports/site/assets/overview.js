// The table of all methods on the front page.
(function () {
  "use strict";
  var front = draftmark.front, make = front.make, link = front.link, distinct = front.distinct,
    fixed = front.fixed, interval = front.interval, shownBoards = front.shownBoards, isShown = front.isShown,
    numbersOf = front.numbersOf;
  var table, shownColumns;

  function columnsOfTable() {
    var rates = ["block_efficiency", "acceptance_rate"];
    var columns = [{ title: "method" }, { title: "group", place: "group" }];
    [["task", "task"], ["pair", "pair"], ["run", "run"]].forEach(function (pair) { columns.push({ title: pair[0], board: pair[1] }); });
    columns.push({ title: "seeds", method: "seeds" });
    rates.forEach(function (name) { columns.push({ title: front.measures[name][0].toLowerCase(), rate: name, place: name.replace(/_/g, "-") }); });
    front.extras.forEach(function (item, n) { columns.push({ title: item[1], extra: n, place: item[0].replace(/_/g, "-") }); });
    columns.push({ title: "published", method: "published", place: "published" });
    return columns;
  }

  function textOf(column, board, method) {
    if (column.board) { return board[column.board]; }
    if (column.method) { return method[column.method]; }
    return "";
  }

  // A column says something if it has a number, or texts that differ.
  function says(column) {
    if (column.rate || column.title === "method") { return true; }
    if (column.title === "group") { return front.boards.some(function (board) { return board.tested; }); }
    var texts = front.boards.flatMap(function (board) {
      return board.methods.map(function (method) {
        var number = column.extra === undefined ? null : method.extras[column.extra];
        return number ? number[0] !== 0 : textOf(column, board, method);
      });
    });
    return column.extra === undefined ? distinct(texts).length > 1 : texts.some(function (value) { return value === true; });
  }

  function silence(column) {
    var method = front.boards[0].methods[0];
    var text = textOf(column, front.boards[0], method);
    return column.title + " (" + (text ? text + " throughout" : "none") + ")";
  }

  function entryOf(column, board, method, place) {
    var missing = method.failed ? "failed" : "–";
    if (column.title === "method") { return { text: method.name, page: method.page }; }
    if (column.title === "group") { return { text: (board.letters[front.state.t] || [])[place] || "" }; }
    if (column.board || column.method) {
      return { text: textOf(column, board, method), page: column.board === "task" ? board.file : "" };
    }
    var number = column.rate ? numbersOf(board, column.rate)[place] : method.extras[column.extra];
    return number ? { number: number, page: method.page, decimals: /acceptance|quality/.test(column.title) ? 3 : 2 } : { text: missing };
  }

  function rendered(item, kind) {
    if (kind !== "display") {
      if (!item.number) { return item.text === "–" || item.text === "failed" ? "" : item.text; }
      return kind === "filter" ? fixed(item.number[0], item.decimals) : item.number[0];
    }
    var made = make("span");
    var text = item.number ? fixed(item.number[0], item.decimals) : item.text;
    made.append(item.page ? link(text, item.page, item.number ? "num" : "") : make("span", text, text === "–" ? "none" : ""));
    if (item.number) { made.append(" ", make("span", interval(item.number, item.decimals), "ci")); }
    return made;
  }

  function tableRows() {
    return shownBoards().flatMap(function (board) {
      return board.methods.map(function (method, place) {
        return isShown(method.name) && shownColumns.map(function (column) { return entryOf(column, board, method, place); });
      }).filter(Boolean);
    });
  }

  function makeTable() {
    var target = document.getElementById("overview"), all = columnsOfTable(), head = target.createTHead().insertRow();
    shownColumns = all.filter(says);
    var silent = all.filter(function (column) { return !shownColumns.includes(column); });
    document.getElementById("left-out").textContent = silent.length ? "Left out: " + silent.map(silence).join(", ") + "." : "";
    shownColumns.forEach(function (column) {
      var cell = make("th", column.place ? undefined : column.title, column.rate || column.extra !== undefined ? "r" : "l");
      cell.scope = "col";
      if (column.place) { cell.append(link(column.title, "definitions.html#" + column.place, "def")); }
      head.append(cell);
    });
    table = draftmark.dataTable(target, Object.assign(draftmark.tableOptions(tableRows().length), {
      data: [], deferRender: true,
      columns: shownColumns.map(function (column, place) {
        return {
          data: place, className: head.cells[place].className, render: rendered, cellType: place ? "td" : "th",
          createdCell: function (cell) { if (!place) { cell.scope = "row"; } },
        };
      }),
    }));
  }

  function drawTable() { table.clear().rows.add(tableRows()).draw(); }

  front.makeTable = makeTable;
  front.drawTable = drawTable;
})();
