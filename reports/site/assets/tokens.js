// Shows responses token by token: what became of each token, by click, touch and arrow keys.
(function () {
  "use strict";
  var WORDS = { a: "drafted and accepted", r: "the target's, in place of a rejected one", b: "the target's, after a block accepted in full", n: "not drafted" };

  function make(tag, text, kind) {
    var made = document.createElement(tag);
    made.textContent = text || "";
    made.className = kind || "";
    return made;
  }

  function isShade(mark) { return /[0-9]/.test(mark); }

  function fate(mark) {
    if (!isShade(mark)) { return WORDS[mark.toLowerCase()]; }
    return "accepted with probability 0." + mark + " to " + (mark === "9" ? "1" : "0." + (Number(mark) + 1));
  }

  // Spaces alone, line breaks and parts of characters have a sign that is no text of the response.
  function token(piece, mark) {
    var made = make("span", "", "t " + (isShade(mark) ? "p" + mark : mark.toLowerCase()));
    made.title = fate(mark);
    var bare = piece.trim() === "" ? (piece === "" ? "◌" : piece.replace(/\n/g, "⏎").replace(/\s/g, "␣")) : "";
    if (bare) {
      made.append(make("span", bare, "sign"));
    } else {
      piece.split("\n").forEach(function (line, place) {
        if (place) { made.append(make("span", "⏎", "sign")); }
        made.append(line);
      });
    }
    return made;
  }

  // A response: a frame around each block; a line break of the response follows its token.
  function response(pieces, marks) {
    var box = make("div"), text = make("p", "", "tokens"), said = make("p", "", "said"), block = text, tokens = [];
    pieces.forEach(function (piece, place) {
      var mark = marks[place] || "n";
      if (!isShade(mark) && (mark !== mark.toLowerCase() || !place)) {
        block = make("span", "", "block");
        text.append(block, " ");
      }
      tokens.push(token(piece, mark));
      block.append(tokens[place]);
      if (piece.includes("\n")) { block.append(document.createElement("br")); }
    });
    var current = -1;
    function choose(place) {
      if (!tokens[place]) { return; }
      if (tokens[current]) { tokens[current].classList.remove("current"); }
      current = place;
      tokens[current].classList.add("current");
      said.textContent = "Token " + (place + 1) + " of " + tokens.length + ", “" + pieces[place].replace(/\n/g, "⏎") + "”: " + fate(marks[place] || "n") + ".";
    }
    text.tabIndex = 0;
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", "Response by tokens; arrow keys move");
    said.setAttribute("aria-live", "polite");
    text.addEventListener("click", function (event) { choose(tokens.indexOf(event.target.closest(".t"))); });
    text.addEventListener("keydown", function (event) {
      var step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) { event.preventDefault(); choose(Math.max(0, current + step)); }
    });
    box.append(text, said);
    return box;
  }

  function counts(marks) {
    if (isShade(marks)) { return marks.length + " tokens"; }
    var accepted = (marks.match(/a/gi) || []).length, passes = (marks.match(/[A-Z]/g) || []).length;
    return marks.length + " tokens in " + passes + " passes of the target, " + accepted + " drafted and accepted";
  }

  function example(item, open) {
    var box = make("details", "", "example"), prompt = make("pre", item.prompt, "prompt");
    box.open = open;
    prompt.tabIndex = 0;
    box.append(make("summary", item.id + ", temperature " + item.temperature), prompt);
    return box;
  }

  // The texts that a page has marks on: [place of the text, marks] -> what `show` makes of them.
  function texts(marked) {
    return marked.map(function (pair) { return { text: window.draftmarkTexts[pair[0]], marks: pair[1] }; });
  }

  window.draftmark.tokens = { texts: texts, response: response, counts: counts, example: example };

  document.addEventListener("DOMContentLoaded", function () {
    var place = document.getElementById("examples-here");
    if (!place) { return; }
    texts(JSON.parse(document.getElementById("data").textContent).examples).forEach(function (item, n) {
      var box = example(item.text, n === 0);
      box.firstChild.textContent += ": " + counts(item.marks);
      box.append(response(item.text.pieces, item.marks));
      place.append(box);
    });
  });
})();
