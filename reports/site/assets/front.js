// The front page: a matrix of methods by tasks, distances from the best, and a table of all methods.
// All three show one choice, which stands in the address: #measure=speedup&task=GSM8K.
(function () {
  "use strict";
  var SWITCHES = ["measure", "t", "gamma", "how"], DEFAULT_WAY = "as the recipe drafts", form;
  // What the three parts share: the page's data and the choice.
  var front = draftmark.front = { state: {}, boards: [], measures: {}, extras: [], MOST_COLUMNS: 12 };

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

  function allSeries() { return front.boards.flatMap(function (board) { return board.series; }); }

  function agrees(series, names) {
    return names.every(function (name) { return series[name] === front.state[name]; });
  }

  // The values of a switch that have numbers under the switches before it.
  function choices(name) {
    var before = SWITCHES.slice(0, SWITCHES.indexOf(name));
    var values = distinct(allSeries().filter(function (s) { return agrees(s, before); }).map(function (s) { return s[name]; }));
    if (name === "measure") { return Object.keys(front.measures).filter(function (m) { return values.includes(m); }); }
    return name === "how" ? values.sort() : values.sort(function (a, b) { return a - b; });
  }

  function usual(name, values) {
    var gamma = String(front.boards[0].gamma);
    return name === "gamma" && values.includes(gamma) ? gamma : values[0];
  }

  function settle() {
    SWITCHES.forEach(function (name) {
      var values = choices(name);
      if (!values.includes(front.state[name])) { front.state[name] = usual(name, values); }
    });
  }

  function readAddress() {
    var params = new URLSearchParams(location.hash.slice(1));
    front.state = {};
    SWITCHES.forEach(function (name) { if (params.has(name)) { front.state[name] = params.get(name); } });
    form.querySelectorAll("select").forEach(function (select) {
      var value = params.get(select.name) || "";
      var known = Array.from(select.options).some(function (option) { return option.value === value; });
      select.value = front.state[select.name] = known ? value : "";
    });
    settle();
  }

  function writeAddress() {
    var params = new URLSearchParams();
    SWITCHES.forEach(function (name) {
      if (front.state[name] !== usual(name, choices(name))) { params.set(name, front.state[name]); }
    });
    form.querySelectorAll("select").forEach(function (select) {
      if (select.value) { params.set(select.name, select.value); }
    });
    history.replaceState(null, "", "#" + params);
  }

  function shownBoards() {
    return front.boards.filter(function (board) {
      return ["task", "pair", "run"].every(function (name) { return !front.state[name] || board[name] === front.state[name]; });
    });
  }

  function isShown(name) { return !front.state.method || front.state.method === name; }

  // The switches

  function words(name, value) {
    if (name === "measure") { return front.measures[value][0]; }
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
      input.checked = value === front.state[name];
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
    var how = measure !== "speedup" && front.state.measure === "speedup" ? "" : front.state.how;
    var wanted = { measure: measure, t: front.state.t, gamma: front.state.gamma, how: how };
    var found = board.series.find(function (s) { return SWITCHES.every(function (n) { return s[n] === wanted[n]; }); });
    return found ? found.numbers : [];
  }

  // Group letters are of block efficiency at the recipe's block length and way of drafting.
  function isTested(board) {
    return front.state.measure === "block_efficiency" && front.state.gamma === String(board.gamma) &&
      front.state.how === "" && board.letters[front.state.t] !== undefined;
  }

  function lettersOf(board, place) { return isTested(board) ? board.letters[front.state.t][place] : ""; }

  function condition() {
    return [front.state.t && "T=" + front.state.t, front.state.gamma && "blocks of " + front.state.gamma, front.state.how].filter(Boolean).join(", ");
  }

  // A board's pair and run, if the page has several.
  function placesOf(board) {
    return ["pair", "run"].filter(function (name) {
      return distinct(front.boards.map(function (other) { return other[name]; })).length > 1;
    }).map(function (name) { return make("span", board[name], "of"); });
  }

  function share(a, b) { return a.split("").some(function (letter) { return b.includes(letter); }); }

  Object.assign(front, { make: make, link: link, distinct: distinct, fixed: fixed, minus: minus,
    interval: interval, shownBoards: shownBoards, isShown: isShown, numbersOf: numbersOf, isTested: isTested,
    lettersOf: lettersOf, condition: condition, placesOf: placesOf, share: share
  });

  function draw() {
    drawSwitches();
    front.drawMatrix();
    front.drawDistances();
    front.drawTable();
  }

  document.addEventListener("DOMContentLoaded", function () {
    form = document.getElementById("filters");
    if (!form) { return; }  // no results, or none with numbers
    var payload = JSON.parse(document.getElementById("data").textContent);
    front.boards = payload.boards;
    front.measures = {};
    payload.measures.forEach(function (item) { front.measures[item[0]] = item.slice(1); });
    front.extras = payload.extras;
    form.hidden = false;
    readAddress();
    front.makeTable();
    draw();
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("change", function (event) {
      front.state[event.target.name] = event.target.value;
      settle();
      writeAddress();
      draw();
    });
    window.addEventListener("hashchange", function () {
      if (location.hash.length < 2 || location.hash.includes("=")) { readAddress(); draw(); }
    });
  });
})();
