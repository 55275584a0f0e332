// The front page: a matrix of methods by tasks, distances from the best, and a table of all methods.
// All three show one choice, which stands in the address: #measure=speedup&task=GSM8K.
(function () {
  "use strict";
  var SWITCHES = ["measure", "t", "gamma", "how"], MOST_COLUMNS = 12, SHADES = 3;
  var DEFAULT_WAY = "as the recipe drafts";
  var boards, measures, extras, form, table, shownColumns, state = {};

  function make(tag, text, kind) {
    var made = document.createElement(tag);
    if (text !== undefined) { made.textContent = text; }
    if (kind) { made.className = kind; }
    return made;
  }

  function link(text, address, kind) {
    var made = make("a", text, kind);
    made.href = address;
    return made;
  }

  function distinct(values) { return Array.from(new Set(values)); }

  function fixed(value, decimals) { return value.toFixed(decimals); }

  function minus(value) { return fixed(-value, 2).replace("-", "−").replace("−0.00", "0.00"); }

  function interval(number, decimals) {
    return number[1] === null ? "" : "[" + fixed(number[1], decimals) + ", " + fixed(number[2], decimals) + "]";
  }

  // The choice

  function allSeries() { return boards.flatMap(function (board) { return board.series; }); }

  function agrees(series, names) {
    return names.every(function (name) { return series[name] === state[name]; });
  }

  // The values of a switch that have numbers under the switches before it.
  function choices(name) {
    var before = SWITCHES.slice(0, SWITCHES.indexOf(name));
    var values = distinct(allSeries().filter(function (s) { return agrees(s, before); }).map(function (s) { return s[name]; }));
    if (name === "measure") { return Object.keys(measures).filter(function (m) { return values.includes(m); }); }
    return name === "how" ? values.sort() : values.sort(function (a, b) { return a - b; });
  }

  function usual(name, values) {
    var gamma = String(boards[0].gamma);
    return name === "gamma" && values.includes(gamma) ? gamma : values[0];
  }

  function settle() {
    SWITCHES.forEach(function (name) {
      var values = choices(name);
      if (!values.includes(state[name])) { state[name] = usual(name, values); }
    });
  }

  function readAddress() {
    var params = new URLSearchParams(location.hash.slice(1));
    state = {};
    SWITCHES.forEach(function (name) { if (params.has(name)) { state[name] = params.get(name); } });
    form.querySelectorAll("select").forEach(function (select) {
      var value = params.get(select.name) || "";
      var known = Array.from(select.options).some(function (option) { return option.value === value; });
      select.value = state[select.name] = known ? value : "";
    });
    settle();
  }

  function writeAddress() {
    var params = new URLSearchParams();
    SWITCHES.forEach(function (name) {
      if (state[name] !== usual(name, choices(name))) { params.set(name, state[name]); }
    });
    form.querySelectorAll("select").forEach(function (select) {
      if (select.value) { params.set(select.name, select.value); }
    });
    history.replaceState(null, "", "#" + params);
  }

  function shownBoards() {
    return boards.filter(function (board) {
      return ["task", "pair", "run"].every(function (name) { return !state[name] || board[name] === state[name]; });
    });
  }

  function isShown(name) { return !state.method || state.method === name; }

  // The switches

  function words(name, value) {
    if (name === "measure") { return measures[value][0]; }
    if (name === "t") { return value === "" ? "–" : "T=" + value; }
    return name === "how" ? value || DEFAULT_WAY : value || "–";
  }

  function switchOf(name, title) {
    var values = choices(name);
    if (values.length < 2) { return null; }
    var set = make("fieldset"), legend = make("legend", title);
    set.append(legend);
    values.forEach(function (value) {
      var label = make("label"), input = make("input");
      input.type = "radio";
      input.name = name;
      input.value = value;
      input.checked = value === state[name];
      label.append(input, make("span", words(name, value)));
      set.append(label);
    });
    return set;
  }

  function drawSwitches() {
    var titles = { measure: "Show", t: "Temperature", gamma: "Block length", how: "Condition" };
    var held = document.activeElement && document.activeElement.name;
    var sets = SWITCHES.map(function (name) { return switchOf(name, titles[name]); }).filter(Boolean);
    document.getElementById("switches").replaceChildren.apply(document.getElementById("switches"), sets);
    if (SWITCHES.includes(held)) {
      var input = form.querySelector("input[name=" + held + "]:checked");
      if (input) { input.focus(); }
    }
  }

  // Numbers

  // A board's numbers of a measure under the switches; rates have no condition of speed.
  function numbersOf(board, measure) {
    var how = measure !== "speedup" && state.measure === "speedup" ? "" : state.how;
    var wanted = { measure: measure, t: state.t, gamma: state.gamma, how: how };
    var found = board.series.find(function (s) { return SWITCHES.every(function (n) { return s[n] === wanted[n]; }); });
    return found ? found.numbers : [];
  }

  // Group letters are of block efficiency at the recipe's block length and way of drafting.
  function isTested(board) {
    return state.measure === "block_efficiency" && state.gamma === String(board.gamma) &&
      state.how === "" && board.letters[state.t] !== undefined;
  }

  function lettersOf(board, place) { return isTested(board) ? board.letters[state.t][place] : ""; }

  function condition() {
    return [state.t && "T=" + state.t, state.gamma && "blocks of " + state.gamma, state.how].filter(Boolean).join(", ");
  }

  // The matrix

  function ranked(columns) {
    var rows = new Map();
    columns.forEach(function (board, place) {
      var numbers = numbersOf(board, state.measure), shades = isTested(board) ? shadesOf(board) : [];
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

  // A board's pair and run, if the page has several.
  function placesOf(board) {
    return ["pair", "run"].filter(function (name) {
      return distinct(boards.map(function (other) { return other[name]; })).length > 1;
    }).map(function (name) { return make("span", board[name], "of"); });
  }

  function heading(board) {
    var cell = make("th");
    cell.scope = "col";
    cell.append(link(board.task, board.file));
    cell.append.apply(cell, placesOf(board));
    return cell;
  }

  function share(a, b) { return a.split("").some(function (letter) { return b.includes(letter); }); }

  // A shade for each method of a board: 0 for the best and those that share a letter with it; then
  // the best of the rest and those that share a letter with that, and so on.
  function shadesOf(board) {
    var letters = board.letters[state.t], numbers = numbersOf(board, state.measure), shades = [];
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
    var cell = make("td"), decimals = measures[state.measure][2];
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
    var all = shownBoards(), columns = all.slice(0, MOST_COLUMNS);
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
    var note = document.getElementById("matrix-note"), measure = measures[state.measure];
    var tested = columns.filter(isTested), several = columns.length > 1;
    document.getElementById("matrix-title").textContent = [measure[0], condition()].filter(Boolean).join(", ");
    note.replaceChildren(link(measure[0], "definitions.html#" + state.measure.replace(/_/g, "-")), ": " + measure[1] + ". ");
    note.append("Second line: 95% interval. " + (several ? "Ranked by the mean over the columns, methods in most columns first. " : ""));
    if (tested.length) {
      note.append(make("strong", "Methods that share a letter " + (several ? "in a column " : "") + "do not differ significantly"));
      note.append(" (paired on prompts, 5% for all pairs together); the greenest cannot be told apart from the best.");
    } else {
      note.append("Groups are of block efficiency at the recipe's block length; nothing is shaded here.");
    }
    if (more) { note.append(" " + more + " more columns: choose a task or run."); }
  }

  // Distances from the best

  function distances(board) {
    var known = (board.behind[state.t] || []).map(function (number, n) {
      return { name: board.methods[n].name, page: board.methods[n].page, number: number, letters: board.letters[state.t][n] };
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
      var choice = new URLSearchParams({ a: best, b: row.name, t: state.t });
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
    var shown = shownBoards().filter(function (board) { return board.tested && board.letters[state.t]; }).slice(0, MOST_COLUMNS);
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
    note.textContent = "Block efficiency minus that of the best method at T=" + state.t + ", blocks of " +
      distinct(known.map(function (board) { return board.gamma; })).join(" or ") +
      ", paired on prompts. Intervals hold together for all pairs of a task: one that reaches the line at 0 cannot be told apart from the best. " + lacking;
    known.forEach(function (board, n) { place.append(panel(board, rows[n], scale, limit)); });
  }

  // The table of all methods

  function columnsOfTable() {
    var rates = ["block_efficiency", "acceptance_rate"];
    var columns = [{ title: "method" }, { title: "group", place: "group" }];
    [["task", "task"], ["pair", "pair"], ["run", "run"]].forEach(function (pair) { columns.push({ title: pair[0], board: pair[1] }); });
    columns.push({ title: "seeds", method: "seeds" });
    rates.forEach(function (name) { columns.push({ title: measures[name][0].toLowerCase(), rate: name, place: name.replace(/_/g, "-") }); });
    extras.forEach(function (item, n) { columns.push({ title: item[1], extra: n, place: item[0].replace(/_/g, "-") }); });
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
    if (column.title === "group") { return boards.some(function (board) { return board.tested; }); }
    var texts = boards.flatMap(function (board) {
      return board.methods.map(function (method) {
        var number = column.extra === undefined ? null : method.extras[column.extra];
        return number ? number[0] !== 0 : textOf(column, board, method);
      });
    });
    return column.extra === undefined ? distinct(texts).length > 1 : texts.some(function (value) { return value === true; });
  }

  function silence(column) {
    var method = boards[0].methods[0];
    var text = textOf(column, boards[0], method);
    return column.title + " (" + (text ? text + " throughout" : "none") + ")";
  }

  function entryOf(column, board, method, place) {
    var missing = method.failed ? "failed" : "–";
    if (column.title === "method") { return { text: method.name, page: method.page }; }
    if (column.title === "group") { return { text: (board.letters[state.t] || [])[place] || "" }; }
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

  function draw() {
    drawSwitches();
    drawMatrix();
    drawDistances();
    table.clear().rows.add(tableRows()).draw();
  }

  document.addEventListener("DOMContentLoaded", function () {
    form = document.getElementById("filters");
    if (!form) { return; }  // no results, or none with numbers
    var payload = JSON.parse(document.getElementById("data").textContent);
    boards = payload.boards;
    measures = {};
    payload.measures.forEach(function (item) { measures[item[0]] = item.slice(1); });
    extras = payload.extras;
    form.hidden = false;
    readAddress();
    makeTable();
    draw();
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("change", function (event) {
      state[event.target.name] = event.target.value;
      settle();
      writeAddress();
      draw();
    });
    window.addEventListener("hashchange", function () {
      if (location.hash.length < 2 || location.hash.includes("=")) { readAddress(); draw(); }
    });
  });
})();
