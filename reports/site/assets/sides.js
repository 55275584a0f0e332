// Two methods side by side; the choice stands in the address: #a=kd&b=sft&t=0.
(function () {
  "use strict";
  var form, data;

  function cell(row, tag, text, kind) {
    var made = document.createElement(tag);
    made.textContent = text;
    made.className = kind || "";
    if (tag === "th") { made.scope = row.parentNode.tagName === "THEAD" ? "col" : "row"; }
    row.append(made);
    return made;
  }

  function linked(text, address, kind) {
    var made = document.createElement("a");
    made.href = document.body.dataset.top + address;
    made.className = kind;
    made.textContent = text;
    return made;
  }

  function interval(number, decimals) {
    return number[1] === null ? "" : "[" + number[1].toFixed(decimals) + ", " + number[2].toFixed(decimals) + "]";
  }

  function numberCell(row, number, decimals, page) {
    var made = cell(row, "td", number ? "" : "–", "r");
    if (!number) { return; }
    made.append(page ? linked(number[0].toFixed(decimals), page, "num") : number[0].toFixed(decimals));
    var second = document.createElement("span");
    second.className = "ci";
    second.textContent = " " + interval(number, decimals);
    made.append(second);
  }

  function turned(number) {
    return [-number[0], number[2] === null ? null : -number[2], number[1] === null ? null : -number[1], number[3]];
  }

  // The paired difference a - b of a quantity; null if it is not known.
  function difference(key, a, b) {
    var there = data.pairs.find(function (p) { return p[0] === key && p[1] === a && p[2] === b; });
    if (there) { return there[3]; }
    var back = data.pairs.find(function (p) { return p[0] === key && p[1] === b && p[2] === a; });
    return back ? turned(back[3]) : null;
  }

  // What the group letters say of two methods whose difference is not among the results.
  function byLetters(key, a, b) {
    var letters = data.letters[key];
    if (!letters || !letters[a] || !letters[b]) { return "–"; }
    var shared = letters[a].split("").some(function (letter) { return letters[b].includes(letter); });
    return shared ? "cannot be told apart" : "differ significantly";
  }

  function drawNumbers(a, b) {
    var table = document.getElementById("both");
    table.replaceChildren();
    var head = table.createTHead().insertRow(), body = table.createTBody();
    cell(head, "th", "quantity");
    [data.methods[a], data.methods[b], "first minus second"].forEach(function (name) { cell(head, "th", name, "r"); });
    data.numbers.forEach(function (item) {
      var row = body.insertRow();
      cell(row, "th", "").append(linked(item.title, "definitions.html#" + item.place, "def"));
      [a, b].forEach(function (method) { numberCell(row, item.values[method], item.decimals, data.pages[method]); });
      var known = a === b ? null : difference(item.key, a, b);
      numberCell(row, known, item.decimals, "");
      if (!known && a !== b) { row.lastChild.textContent = byLetters(item.key, a, b); }
    });
    leaveOutDifference(table);
  }

  // A column of dashes says nothing: one line says so in its place.
  function leaveOutDifference(table) {
    var known = Array.from(table.tBodies[0].rows).some(function (row) { return row.lastChild.textContent !== "–"; });
    document.getElementById("no-difference").hidden = known;
    if (!known) { Array.from(table.rows).forEach(function (row) { row.lastChild.remove(); }); }
  }

  function drawTexts(a, b, temperature) {
    var place = document.getElementById("pairs"), tokens = window.draftmark.tokens;
    if (!place) { return; }
    place.replaceChildren();
    tokens.texts(data.texts).forEach(function (item) {
      if (String(item.text.temperature) !== temperature) { return; }
      var box = tokens.example(item.text, !place.firstChild);
      [a, b].forEach(function (method) {
        var name = document.createElement("h3"), marks = item.marks[method];
        name.textContent = data.methods[method] + ": " + (marks === undefined ? "no example of this prompt" : tokens.counts(marks));
        box.append(name);
        if (marks !== undefined) { box.append(tokens.response(item.text.pieces, marks)); }
      });
      place.append(box);
    });
  }

  function draw() {
    var a = data.methods.indexOf(form.elements.a.value), b = data.methods.indexOf(form.elements.b.value);
    drawNumbers(a, b);
    drawTexts(a, b, form.elements.t.value);
  }

  function fill(select, values, usual) {
    values.forEach(function (value) {
      var option = document.createElement("option");
      option.value = value;
      option.textContent = select.name === "t" ? "T=" + value : value;
      select.append(option);
    });
    select.dataset.usual = usual;
    select.parentNode.hidden = values.length < 2;
  }

  function readAddress() {
    var params = new URLSearchParams(location.hash.slice(1));
    form.querySelectorAll("select").forEach(function (select) {
      select.value = params.get(select.name) || select.dataset.usual;
      if (select.selectedIndex < 0) { select.value = select.dataset.usual; }
    });
    if (!params.has("b") && form.elements.b.value === form.elements.a.value) { form.elements.b.value = data.methods[0]; }
  }

  function writeAddress() {
    history.replaceState(null, "", "#" + new URLSearchParams(new FormData(form)));
  }

  document.addEventListener("DOMContentLoaded", function () {
    form = document.getElementById("choice");
    data = JSON.parse(document.getElementById("data").textContent);
    var temperatures = Array.from(new Set(window.draftmark.tokens.texts(data.texts).map(function (item) { return String(item.text.temperature); })));
    fill(form.elements.a, data.methods, data.methods[0]);
    fill(form.elements.b, data.methods, data.methods[1]);
    fill(form.elements.t, temperatures, temperatures[0]);
    form.hidden = false;
    readAddress();
    draw();
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("change", function () { writeAddress(); draw(); });
    window.addEventListener("hashchange", function () {
      if (location.hash.length < 2 || location.hash.includes("=")) { readAddress(); draw(); }
    });
  });
})();
