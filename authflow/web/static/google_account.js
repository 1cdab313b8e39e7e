// Takes what Google confirms and sends it with the page's form, or says that Google's script cannot be loaded.
"use strict";

(() => {
  const part = (id) => document.getElementById(id);

  // Google's script calls this by the name in data-callback.
  window.authflowGoogleAccount = (answer) => {
    const form = part("google-form");
    const token = form.elements.namedItem("token");
    // Once: two answers of one page would be two submissions of one flow, of which the second is refused.
    if (!answer || typeof answer.credential !== "string" || token.value !== "") {
      return;
    }
    token.value = answer.credential;
    part("google-wait").hidden = false;
    form.submit();
  };

  // A page that is gone back to is shown as it was left: what is in it is used up.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) {
      part("google-form").elements.namedItem("token").value = "";
      part("google-wait").hidden = true;
    }
  });

  part("google-client").addEventListener("error", () => {
    part("google-button").hidden = true;
    part("google-blocked").hidden = false;
  });
})();
