// Sets the chosen theme before the first paint: a classic script that blocks the page's body, because a module runs too late.
// base/preferences.js owns the record that it reads.

{
  let theme;
  try {
    theme = JSON.parse(localStorage.getItem(`millrace ${location.pathname}`) ?? "{}").theme;
  } catch {
    // storage is not allowed, or not ours: the system's theme
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
