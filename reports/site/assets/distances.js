// The distances from the best method on the front page: a panel for each task.
(function () {
  "use strict";
  var front = draftmark.front, make = front.make, link = front.link, distinct = front.distinct,
    minus = front.minus, shownBoards = front.shownBoards, isShown = front.isShown, placesOf = front.placesOf,
    share = front.share;

  function distances(board) {
    var known = (board.behind[front.state.t] || []).map(function (number, n) {
      return { name: board.methods[n].name, page: board.methods[n].page, number: number, letters: board.letters[front.state.t][n] };
    }).filter(function (row) { return row.letters; });
    return known.sort(function (a, b) { return (a.number ? a.number[0] : 0) - (b.number ? b.number[0] : 0); });
  }

  // The farthest distance drawn to scale: the last quarter may be off the axis if it is far from the rest.
  function farthest(rows) {
    var known = rows.map(function (row) { return row.number; }).filter(Boolean).sort(function (a, b) { return a[0] - b[0]; });
    var limit = 0;
    for (var n = 0; n < known.length; n += 1) {
      var far = limit > 0 && known[n][0] > 3 * limit && known.length - n <= known.length / 4;
      if (far) { break; }
      limit = Math.max(limit, known[n][2] === null ? known[n][0] : known[n][2]);
    }
    return limit || 1;
  }

  function drawn(tag, attributes) {
    var made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.keys(attributes).forEach(function (name) { made.setAttribute(name, attributes[name]); });
    return made;
  }

  function bar(number, scale) {
    var svg = drawn("svg", { "aria-hidden": "true" }), at = scale(number ? -number[0] : 0);
    svg.append(drawn("line", { "class": "zero", x1: scale(0) + "%", x2: scale(0) + "%", y1: 0, y2: "100%" }));
    function across(kind, from, to) {
      svg.append(drawn("line", { "class": kind, x1: from + "%", x2: to + "%", y1: "50%", y2: "50%" }));
    }
    if (number && number[1] !== null) { across("span", scale(-number[2]), scale(-number[1])); }
    if (at > 0) {
      svg.append(drawn("circle", { "class": "dot", cx: at + "%", cy: "50%", r: 5 }));
    } else {
      across("beyond", 0, 3);
    }
    return svg;
  }

  function axis(scale, limit) {
    var svg = drawn("svg", { "aria-hidden": "true" });
    [[-limit, minus(limit), "start"], [0, "0", "middle"]].forEach(function (tick) {
      var text = drawn("text", { x: scale(tick[0]) + "%", y: "70%", "text-anchor": tick[2] });
      text.textContent = tick[1];
      svg.append(text);
    });
    return svg;
  }

  // A distance with its interval; it opens the two methods side by side.
  function distance(board, best, row) {
    var made = make("td", row.number ? undefined : "best", "r");
    if (row.number) {
      var choice = new URLSearchParams({ a: best, b: row.name, t: front.state.t });
      var interval = row.number[1] === null ? "" : "[" + minus(row.number[2]) + ", " + minus(row.number[1]) + "]";
      made.append(link(minus(row.number[0]), board.sides + "#" + choice, "num"), make("span", interval, "ci"));
    }
    return made;
  }

  function panel(board, rows, scale, limit) {
    var box = make("div", undefined, "panel"), grid = make("table"), best = rows[0];
    var caption = make("caption", board.task + ": behind " + best.name);
    caption.append.apply(caption, placesOf(board));
    var body = grid.createTBody();
    grid.append(caption);
    rows.filter(function (row) { return isShown(row.name); }).forEach(function (row) {
      var line = body.insertRow(), name = make("th"), plot = make("td", undefined, "plot");
      name.scope = "row";
      name.append(link(row.name, row.page), " ", make("span", row.letters, "letters"));
      plot.append(bar(row.number, scale));
      line.className = share(row.letters, best.letters) ? "same" : "behind";
      line.append(name, plot, distance(board, best.name, row));
    });
    var last = body.insertRow(), ticks = make("td", undefined, "plot");
    last.className = "axis";
    ticks.append(axis(scale, limit));
    last.append(make("td"), ticks, make("td"));
    box.append(grid);
    box.append(link("Two methods side by side", board.sides, "side"));
    return box;
  }

  function drawDistances() {
    var place = document.getElementById("behind"), note = document.getElementById("behind-note");
    var shown = shownBoards().filter(function (board) { return board.tested && board.letters[front.state.t]; }).slice(0, front.MOST_COLUMNS);
    var known = shown.filter(function (board) { return board.paired; });
    document.getElementById("behind-section").hidden = !shown.length;
    place.replaceChildren();
    var older = shown.filter(function (board) { return !board.paired; });
    var lacking = older.length ? (known.length ? older.length + " of " + shown.length + " columns have" : "These results have") +
      " no differences with simultaneous intervals: the run is older than they are. Run its recipe again to have them." : "";
    note.textContent = lacking;
    if (!known.length) { return; }
    var rows = known.map(distances), every = rows.flat(), limit = farthest(every);
    var beyond = Math.max.apply(null, every.map(function (row) { return row.number && row.number[1] < 0 ? -row.number[1] : 0; }));
    var full = 1.04 * limit + Math.max(beyond, 0.04 * limit);
    function scale(x) { return Math.min(100, Math.max(0, 100 * (x + 1.04 * limit) / full)); }
    note.textContent = "Block efficiency minus that of the best method at T=" + front.state.t + ", blocks of " +
      distinct(known.map(function (board) { return board.gamma; })).join(" or ") +
      ", paired on prompts. Intervals hold together for all pairs of a task: one that reaches the line at 0 cannot be told apart from the best. " + lacking;
    known.forEach(function (board, n) { place.append(panel(board, rows[n], scale, limit)); });
  }

  front.drawDistances = drawDistances;
})();
