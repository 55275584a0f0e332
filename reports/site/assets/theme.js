// Sets the theme before the page is painted: the last choice, else the preference of the system.
(function () {
  "use strict";
  var root = document.documentElement;
  function stored() {
    try { return localStorage.getItem("draftmark-theme"); } catch (error) { return null; }
  }
  function set(theme) {
    root.dataset.theme = theme;
    root.classList.toggle("dark", theme === "dark");
  }
  set(stored() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  // Paper is light: charts are drawn again in its colours, and afterwards in those of the screen.
  var onScreen;
  function show(theme) {
    set(theme);
    document.dispatchEvent(new Event("themechange"));
  }
  window.addEventListener("beforeprint", function () {
    onScreen = root.dataset.theme;
    if (onScreen === "dark") { show("light"); }
  });
  window.addEventListener("afterprint", function () {
    if (onScreen === "dark") { show("dark"); }
  });
  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    function update() { button.setAttribute("aria-pressed", String(root.dataset.theme === "dark")); }
    update();
    button.addEventListener("click", function () {
      show(root.dataset.theme === "dark" ? "light" : "dark");
      try { localStorage.setItem("draftmark-theme", root.dataset.theme); } catch (error) { /* not stored */ }
      update();
    });
  });
})();
