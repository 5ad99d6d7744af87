"use strict";

// Shows times as the person's own clock has them; UTC stays in the title.
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.getAttribute("datetime"));
  if (!Number.isNaN(at.getTime())) time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

// Offers to copy an address. No secret is ever on a page to be copied.
for (const place of document.querySelectorAll(".copyable")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small plain copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy the address");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(place.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy";
    }
  });
  place.after(" ", button);
}
