// The matrix of methods by tasks on the front page.
(function () {
  "use strict";
  var front = draftmark.front, make = front.make, link = front.link, fixed = front.fixed,
    interval = front.interval, shownBoards = front.shownBoards, isShown = front.isShown,
    numbersOf = front.numbersOf, isTested = front.isTested, lettersOf = front.lettersOf,
    condition = front.condition, placesOf = front.placesOf, share = front.share;
  var SHADES = 3;

  function ranked(columns) {
    var rows = new Map();
    columns.forEach(function (board, place) {
      var numbers = numbersOf(board, front.state.measure), shades = isTested(board) ? shadesOf(board) : [];
      board.methods.forEach(function (method, n) {
        if (!isShown(method.name)) { return; }
        if (!rows.has(method.name)) { rows.set(method.name, { name: method.name, cells: [], values: [] }); }
        var row = rows.get(method.name);
        row.cells[place] = { board: board, place: n, method: method, number: numbers[n], shade: shades[n] };
        if (numbers[n]) { row.values.push(numbers[n][0]); }
      });
    });
    function mean(row) { return row.values.reduce(function (a, b) { return a + b; }, 0) / (row.values.length || 1); }
    return Array.from(rows.values()).sort(function (a, b) {
      return b.values.length - a.values.length || mean(b) - mean(a);
    });
  }

  function heading(board) {
    var cell = make("th");
    cell.scope = "col";
    cell.append(link(board.task, board.file));
    cell.append.apply(cell, placesOf(board));
    return cell;
  }


  // A shade for each method of a board: 0 for the best and those that share a letter with it; then
  // the best of the rest and those that share a letter with that, and so on.
  function shadesOf(board) {
    var letters = board.letters[front.state.t], numbers = numbersOf(board, front.state.measure), shades = [];
    var left = letters.map(function (_, n) { return n; }).filter(function (n) { return letters[n] && numbers[n]; });
    left.sort(function (a, b) { return numbers[b][0] - numbers[a][0]; });
    for (var shade = 0; left.length; shade += 1) {
      var same = left.filter(function (n) { return share(letters[n], letters[left[0]]); });
      same.forEach(function (n) { shades[n] = "s" + Math.min(shade, SHADES); });
      left = left.filter(function (n) { return !same.includes(n); });
    }
    return shades;
  }

  function matrixCell(item) {
    var cell = make("td"), decimals = front.measures[front.state.measure][2];
    if (!item || !item.number) {
      cell.append(item && item.method.failed ? link("failed", item.method.page, "failed") : make("span", "–", "none"));
      return cell;
    }
    var letters = lettersOf(item.board, item.place);
    if (letters) { cell.className = item.shade; }
    cell.append(link(fixed(item.number[0], decimals), item.method.page, "num"));
    cell.title = "n=" + item.number[3];
    if (letters) { cell.append(" ", make("span", letters, "letters")); }
    cell.append(make("span", interval(item.number, decimals), "ci"));
    return cell;
  }

  function drawMatrix() {
    var all = shownBoards(), columns = all.slice(0, front.MOST_COLUMNS);
    var target = document.getElementById("matrix");
    target.replaceChildren(make("caption", "Methods by tasks", "unseen"));
    var head = target.createTHead().insertRow(), first = make("th", "method");
    first.scope = "col";
    head.append.apply(head, [first].concat(columns.map(heading)));
    var body = target.createTBody();
    ranked(columns).forEach(function (row) {
      var line = body.insertRow(), name = make("th", row.name);
      name.scope = "row";
      line.append(name);
      columns.forEach(function (board, place) { line.append(matrixCell(row.cells[place])); });
    });
    describe(columns, all.length - columns.length);
  }

  function describe(columns, more) {
    var note = document.getElementById("matrix-note"), measure = front.measures[front.state.measure];
    var tested = columns.filter(isTested), several = columns.length > 1;
    document.getElementById("matrix-title").textContent = [measure[0], condition()].filter(Boolean).join(", ");
    note.replaceChildren(link(measure[0], "definitions.html#" + front.state.measure.replace(/_/g, "-")), ": " + measure[1] + ". ");
    note.append("Second line: 95% interval. " + (several ? "Ranked by the mean over the columns, methods in most columns first. " : ""));
    if (front.state.measure === "speedup") {
      note.append("Advice on what to serve has wider intervals, which hold for all drafts and block lengths together. ");
    }
    if (tested.length) {
      note.append(make("strong", "Methods that share a letter " + (several ? "in a column " : "") + "do not differ significantly"));
      note.append(" (paired on prompts, 5% for all pairs together); the greenest cannot be told apart from the best.");
    } else {
      note.append("Groups are of block efficiency at the recipe's block length; nothing is shaded here.");
    }
    if (more) { note.append(" " + more + " more columns: choose a task or run."); }
  }

  front.drawMatrix = drawMatrix;
})();
