// Asks the browser for a passkey when the form is sent, and sends what it answers. Shown errors are read out.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("passkey");
  const field = document.querySelector('input[name="response"]');
  const form = field.form;
  const button = form.querySelector('button[type="submit"]');

  const decode = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
  const encode = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const say = (text) => {
    const line = document.createElement("p");
    line.className = "error";
    line.textContent = text;
    place.replaceChildren(line);
  };

  const wanted = () => {
    const options = JSON.parse(place.dataset.options);
    options.challenge = decode(options.challenge);
    if (options.user) options.user.id = decode(options.user.id);
    for (const known of options.excludeCredentials || []) known.id = decode(known.id);
    return options;
  };

  const answered = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = encode(credential.response[name]);
    }
    return { id: credential.id, rawId: encode(credential.rawId), type: credential.type, response,
      clientExtensionResults: {} };
  };

  form.addEventListener("submit", async (event) => {
    if (field.value) return;
    event.preventDefault();
    if (!window.PublicKeyCredential) {
      say(place.dataset.unknown);
      return;
    }
    button.disabled = true;
    place.replaceChildren();
    try {
      const credential = await navigator.credentials[place.dataset.ceremony]({ publicKey: wanted() });
      field.value = JSON.stringify(answered(credential));
      form.submit();
    } catch (error) {
      const reasons = { NotAllowedError: "cancelled", AbortError: "cancelled", InvalidStateError: "known" };
      say(place.dataset[reasons[error.name] || "unknown"]);
    } finally {
      button.disabled = false;
      if (!field.value) button.focus();
    }
  });

  // Whoever comes back by the browser's button starts anew: what was signed is spent.
  window.addEventListener("pageshow", () => { field.value = ""; });
});
