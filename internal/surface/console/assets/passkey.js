"use strict";

// Hands what the page asks for to the person's authenticator and sends its answer with the
// page's form (Web Authentication, section 5.1). Bytes travel as base64url.
const form = document.querySelector("form[data-passkey]");
const status = document.getElementById("passkey-status");
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
let asking;

function options() {
  const asked = JSON.parse(form.dataset.options);
  asked.challenge = bytes(asked.challenge);
  if (asked.user) asked.user.id = bytes(asked.user.id);
  for (const key of [...(asked.excludeCredentials ?? []), ...(asked.allowCredentials ?? [])]) key.id = bytes(key.id);
  return asked;
}

function answer(key) {
  const response = { clientDataJSON: text(key.response.clientDataJSON) };
  for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (key.response[part]) response[part] = text(key.response[part]);
  }
  if (key.response.getTransports) response.transports = key.response.getTransports();
  return JSON.stringify({ id: key.id, rawId: text(key.rawId), type: key.type, authenticatorAttachment: key.authenticatorAttachment ?? undefined, clientExtensionResults: {}, response });
}

async function ask() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  if (!navigator.credentials || !window.PublicKeyCredential) {
    status.textContent = "This browser has no passkeys, or this page was opened at another address than the server's own.";
    return;
  }
  status.textContent = "Your device asks you now.";
  try {
    const key = await navigator.credentials[form.dataset.passkey]({ publicKey: options(), signal });
    form.elements.response.value = answer(key);
    form.submit();
  } catch (fault) {
    if (signal.aborted) return;
    status.textContent = fault.name === "InvalidStateError" ? "This device has a passkey of yours already."
      : fault.name === "SecurityError" ? "This page was opened at another address than the server's own."
      : "Nothing was chosen, or it took too long. Try again.";
  }
}

document.getElementById("passkey-ask").addEventListener("click", ask);
ask();
