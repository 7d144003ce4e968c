// Signing in.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { login } from "../session.js";
import { field } from "../dialog.js";
import { explain } from "../refusals.js";
import { redraw } from "../frame.js";

export function loginPage(entered) {
  let error = "";
  let busy = false;
  const submit = async (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    busy = true;
    error = "";
    redraw();
    try {
      await login(data.get("username"), data.get("password"));
      entered();
    } catch (failure) {
      error = failure.status === 401 ? t("Wrong user name or password, or this user may not use the management interface.") : explain(failure);
    }
    busy = false;
    redraw();
  };
  return () =>
    h("form", { class: "login card", onsubmit: submit },
      h("img", { src: "/ui/leveret.svg", alt: "", width: 56, height: 56 }),
      h("h1", null, "Leveret"),
      field({ name: "username", label: t("User name"), required: true, autocomplete: "username" }),
      field({ name: "password", label: t("Password"), type: "password", required: true, autocomplete: "current-password" }),
      h("p", { class: "error", role: "alert" }, error),
      h("button", { class: "primary", disabled: busy }, t("Sign in")));
}
