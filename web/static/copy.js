// Buttons that copy a digest: shown where there is a script to serve them, said when done.
"use strict";
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const before = button.innerHTML;
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      said = button.dataset.copy;
    }
    button.textContent = said;
    setTimeout(() => { button.innerHTML = before; }, 2000);
  });
}
