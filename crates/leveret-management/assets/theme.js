// Dark or light: what the system prefers, unless somebody chose.

const KEY = "theme";

export const theme = () => localStorage.getItem(KEY) ?? "auto";

export function setTheme(name) {
  if (name === "auto") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, name);
  apply();
}

function apply() {
  document.documentElement.dataset.theme = theme();
}

apply();
