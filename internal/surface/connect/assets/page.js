"use strict";

// Hands the finish code to the page that opened this one. The browser delivers it to that
// origin or not at all, and does not tell which; so the window stays, with the way back on
// it, until the application that has the code closes it.
function handOver() {
  const place = document.getElementById("handover");
  if (!place || !window.opener) return;
  const { origin, session, code } = place.dataset;
  window.opener.postMessage({ type: "claviger.connected", sessionId: session, finishCode: code }, origin);
  document.getElementById("status").textContent = "The application was told. If this window stays open, go back with the button.";
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

// Narrows a long list to what a person types.
function watchFilter() {
  const filter = document.getElementById("filter");
  if (!filter) return;
  filter.closest(".field").hidden = false;
  const all = [...document.querySelectorAll(".choices li")];
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const one of all) one.hidden = !one.querySelector("b").textContent.toLowerCase().includes(wanted);
    const left = all.filter((one) => !one.hidden).length;
    document.getElementById("found").textContent = left === 0 ? "Nothing of that name can be connected here." : `${left} of ${all.length}`;
  });
}

// Copies the finish code.
function offerCopy() {
  const button = document.getElementById("copy");
  if (!button || !navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(document.getElementById("code").textContent);
      document.getElementById("copied").textContent = "Copied.";
    } catch {
      document.getElementById("copied").textContent = "Your browser did not allow it. Select the code and copy it.";
    }
  });
}

// Asks in the background whether the vendor has said yes, and goes on then. Nothing of the
// page changes before, so that nobody loses their place in it.
function watchPairing() {
  const place = document.getElementById("pairing");
  if (!place) return;
  const ask = async () => {
    try {
      const answer = await fetch(place.dataset.ask, { credentials: "same-origin" });
      if (!answer.ok || (await answer.json()).over) {
        location.reload();
        return;
      }
    } catch {
      // offline for a moment
    }
    setTimeout(ask, place.dataset.pause * 1000);
  };
  setTimeout(ask, place.dataset.pause * 1000);
}

handOver();
watchFields();
watchFilter();
offerCopy();
watchPairing();
