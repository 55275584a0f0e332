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
  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    function update() { button.setAttribute("aria-pressed", String(root.dataset.theme === "dark")); }
    update();
    button.addEventListener("click", function () {
      set(root.dataset.theme === "dark" ? "light" : "dark");
      try { localStorage.setItem("draftmark-theme", root.dataset.theme); } catch (error) { /* not stored */ }
      update();
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
