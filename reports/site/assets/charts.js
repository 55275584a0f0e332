// Draws the page's charts with Chart.js, in the colours of the theme, each with a table of its data.
(function () {
  "use strict";
  // Okabe and Ito's colours, distinct for any colour vision; lighter ones on dark.
  var LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];
  var DARK = ["#56b4e9", "#e69f00", "#2fc79a", "#e29bc4", "#8fb8ff", "#f0e442", "#ffffff"];
  var MARKS = ["circle", "rect", "triangle", "rectRot", "crossRot", "star", "dash"];
  var made = [];

  function theme() {
    var style = getComputedStyle(document.documentElement);
    var dark = document.documentElement.dataset.theme === "dark";
    return {
      text: style.getPropertyValue("--text").trim(), soft: style.getPropertyValue("--soft").trim(),
      rule: style.getPropertyValue("--rule").trim(), colours: dark ? DARK : LIGHT,
    };
  }

  // The series of a chart of costs: tokens / (1 pass + drafted (c + w)) at each block length.
  function withSeries(chart) {
    if (!chart.costs) { return chart; }
    return Object.assign({}, chart, { series: chart.costs.map(function (cost) {
      var points = chart.series[0].points.map(function (p) { return [p[0], p[1] / (1 + p[2] * cost)]; });
      return { name: "c + w = " + cost, points: points };
    }) });
  }

  function shown(value) {
    return value === null || value === undefined ? "" : String(Math.round(value * 1e4) / 1e4);
  }

  // A place on the horizontal axis: its name if places have names, as runs do.
  function place(chart, x) {
    return chart.names ? chart.names[x] || "" : shown(x);
  }

  function dataset(series, place, chart, look) {
    var forest = chart.kind === "forest";
    var hue = series.hue === undefined ? place : series.hue;
    var colour = look.colours[hue % look.colours.length];
    var bare = series.points.every(function (p) { return p[2] === undefined; });
    return {
      label: series.name,
      data: series.points.map(function (p) {
        var point = forest ? { x: p[1], y: p[0] } : { x: p[0], y: p[1] };
        if (p[2] !== undefined) {
          point[forest ? "xMin" : "yMin"] = p[2];
          point[forest ? "xMax" : "yMax"] = p[3];
        }
        return point;
      }),
      type: bare ? "scatter" : "scatterWithErrorBars",
      showLine: !forest, borderColor: colour, backgroundColor: colour, borderWidth: 2,
      borderDash: series.dashed ? [6, 4] : [], yAxisID: series.right ? "right" : "y",
      pointStyle: MARKS[place % MARKS.length], pointRadius: forest ? 5 : 3,
      pointBackgroundColor: colour, pointBorderColor: colour,
      errorBarColor: colour, errorBarWhiskerColor: colour, errorBarLineWidth: 2,
      errorBarWhiskerLineWidth: 2, errorBarWhiskerSize: 8,
    };
  }

  function axis(title, look, more) {
    return Object.assign({
      title: { display: true, text: title, color: look.soft },
      ticks: { color: look.soft, precision: undefined },
      grid: { color: look.rule }, border: { color: look.rule },
    }, more || {});
  }

  // Room around the values, which does not go below 0 if no value does.
  function room(chart) {
    var ends = [];
    chart.series.forEach(function (series) {
      if (!series.right) { series.points.forEach(function (p) { ends.push(p[2] == null ? p[1] : p[2], p[3] == null ? p[1] : p[3]); }); }
    });
    var low = Math.min.apply(null, ends), high = Math.max.apply(null, ends);
    return low >= 0 && low < (high - low) / 10 ? { grace: "5%", min: 0 } : { grace: "5%" };
  }

  function scales(chart, look) {
    if (chart.kind === "forest") {
      var names = chart.labels;
      var ticks = {
        color: look.text, stepSize: 1, autoSkip: false,
        callback: function (value) {
          var name = names[value];
          return name === undefined ? "" : name.length > 22 ? name.slice(0, 11) + "…" + name.slice(-10) : name;
        },
      };
      return {
        x: axis(chart.x, look, { grace: "5%" }),
        y: axis(chart.y, look, {
          min: -0.6, max: names.length - 0.4, reverse: true, ticks: ticks, title: { display: false },
          afterBuildTicks: function (scale) {
            scale.ticks = names.map(function (name, place) { return { value: place }; });
          },
        }),
      };
    }
    var all = { x: axis(chart.x, look, { type: "linear", bounds: "data" }), y: axis(chart.y, look, room(chart)) };
    all.x.ticks.callback = function (value) { return place(chart, value); };
    all.x.ticks.precision = 0;
    if (chart.series.some(function (series) { return series.right; })) {
      all.right = axis(chart.right, look, { position: "right", grid: { display: false }, beginAtZero: true });
    }
    return all;
  }

  function tooltip(chart) {
    return {
      callbacks: {
        title: function (items) {
          var raw = items[0].raw;
          return chart.kind === "forest" ? chart.labels[raw.y] : chart.x + ": " + place(chart, raw.x);
        },
        label: function (item) {
          var raw = item.raw, forest = chart.kind === "forest";
          var low = forest ? raw.xMin : raw.yMin, high = forest ? raw.xMax : raw.yMax;
          var text = item.dataset.label + ": " + shown(forest ? raw.x : raw.y);
          return low === undefined ? text : text + " [" + shown(low) + ", " + shown(high) + "]";
        },
      },
    };
  }

  function draw(chart, canvas) {
    var look = theme();
    var datasets = chart.series.map(function (s, n) { return dataset(s, n, chart, look); });
    if (chart.line_at) {
      var ends = chart.series[0].points.map(function (p) { return p[0]; });
      datasets.push({
        label: "the target alone", type: "scatter", showLine: true, pointRadius: 0, borderWidth: 1.5,
        data: [{ x: Math.min.apply(null, ends), y: chart.line_at }, { x: Math.max.apply(null, ends), y: chart.line_at }],
        borderColor: look.soft, borderDash: [2, 3], backgroundColor: look.soft,
      });
    }
    return new Chart(canvas, {
      type: "scatter", data: { datasets: datasets },
      options: {
        responsive: true, maintainAspectRatio: false, animation: false,
        scales: scales(chart, look),
        plugins: {
          legend: {
            display: datasets.length > 1, position: "bottom",
            labels: { color: look.text, usePointStyle: true, boxHeight: 7 },
          },
          tooltip: tooltip(chart),
        },
      },
    });
  }

  function cell(row, tag, text) {
    var made = document.createElement(tag);
    made.textContent = text;
    row.appendChild(made);
    return made;
  }

  function table(chart) {
    var made = document.createElement("table"), head = made.createTHead().insertRow();
    var forest = chart.kind === "forest";
    var hasEnds = chart.series.some(function (series) { return series.points.some(function (p) { return p.length > 3; }); });
    ["series", forest ? chart.y : chart.x, forest ? chart.x : chart.y].concat(hasEnds ? ["low", "high"] : []).forEach(function (name) {
      cell(head, "th", name).scope = "col";
    });
    var body = made.createTBody();
    chart.series.forEach(function (series) {
      series.points.forEach(function (p) {
        var row = body.insertRow();
        cell(row, "td", series.name);
        cell(row, "td", forest ? chart.labels[p[0]] : place(chart, p[0]));
        (hasEnds ? [p[1], p[2], p[3]] : [p[1]]).forEach(function (value) { cell(row, "td", shown(value)); });
      });
    });
    return made;
  }

  function addChart(figure, chart) {
    var title = document.createElement("figcaption"), box = document.createElement("div");
    var canvas = document.createElement("canvas"), data = document.createElement("details");
    title.textContent = chart.title;
    box.className = "canvas" + (chart.kind === "forest" ? " rows-" + Math.min(12, Math.max(3, chart.labels.length)) : "");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", chart.title + "; the table below has its numbers");
    cell(data, "summary", "Numbers of this chart");
    data.addEventListener("toggle", function () {
      if (data.open && !data.querySelector("table")) {
        var scroll = document.createElement("div");
        scroll.className = "scroll";
        scroll.tabIndex = 0;
        scroll.appendChild(table(chart));
        data.appendChild(scroll);
      }
    });
    box.appendChild(canvas);
    figure.append(title, box, data);
    made.push({ chart: chart, canvas: canvas, drawn: draw(chart, canvas) });
  }

  document.addEventListener("DOMContentLoaded", function () {
    var data = document.getElementById("data");
    var charts = data ? JSON.parse(data.textContent).charts || [] : [];
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    document.querySelectorAll("figure[data-chart]").forEach(function (figure) {
      addChart(figure, withSeries(charts[Number(figure.dataset.chart)]));
    });
  });
  document.addEventListener("themechange", function () {
    made.forEach(function (item) {
      item.drawn.destroy();
      item.drawn = draw(item.chart, item.canvas);
    });
  });
})();
