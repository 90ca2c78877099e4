"use strict";

for (const button of document.querySelectorAll("button")) {
  const article = button.closest("article");
  const output = article.querySelector("output");
  button.addEventListener("click", async () => {
    const url = new URL(button.dataset.path, location.href);
    const field = article.querySelector("input");
    if (field) url.searchParams.set(button.dataset.field, field.value);
    button.disabled = true;
    output.className = "";
    output.textContent = "…";
    try {
      const response = await fetch(url, { method: "POST" });
      const text = await response.text();
      output.className = response.ok ? "" : "bad";
      output.textContent = text || (response.ok ? "Done." : `The answer was ${response.status}.`);
    } catch {
      output.className = "bad";
      output.textContent = "The application does not answer.";
    } finally {
      button.disabled = false;
    }
  });
}

fetch("settings")
  .then((response) => response.json())
  .then((settings) => {
    if (settings.can_restart) return;
    const button = document.querySelector("#restart");
    button.disabled = true;
    button.closest("article").querySelector("output").textContent = "The server of DATABASE_URL is not ours to restart.";
  });
