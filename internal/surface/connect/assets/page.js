"use strict";

// Hands the finish code to the page that opened this one. The browser delivers it to
// that origin or not at all.
function handOver() {
  const place = document.getElementById("handover");
  if (!place || !window.opener) return;
  const { origin, session, code } = place.dataset;
  window.opener.postMessage({ type: "claviger.connected", sessionId: session, finishCode: code }, origin);
  window.close();
  document.getElementById("status").textContent = "Done. You can close this window.";
}

// Says what is wrong with a field's form once the person leaves it. The server decides;
// without this script it says so after the form was sent.
function watchFields() {
  const form = document.querySelector("form[data-check]");
  if (!form) return;
  for (const field of form.querySelectorAll("[data-hinted]")) {
    field.addEventListener("change", async () => {
      const place = document.getElementById("wrong-" + field.id);
      let message = "";
      if (field.value !== "") {
        try {
          const answer = await fetch(form.dataset.check, {
            method: "POST", body: new URLSearchParams([[field.name, field.value]]), credentials: "same-origin",
          });
          if (answer.ok) message = (await answer.json()).message;
        } catch {
          return;
        }
      }
      place.textContent = message;
      field.setAttribute("aria-invalid", message === "" ? "false" : "true");
    });
  }
}

handOver();
watchFields();
