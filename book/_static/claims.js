// Filters for the page of claims: chapter, kind, verdict, a word. Without this script the page shows all, folded by chapter.
"use strict";

(() => {
  const records = [...document.querySelectorAll("div.record")];
  const place = document.querySelector("#what-does-not-hold");
  if (!records.length || !place) return;

  const prefixes = { chapter: "All chapters", kind: "All kinds", verdict: "All verdicts" };
  const value = (record, key) => [...record.classList].find((name) => name.startsWith(`${key}-`)) || "";
  const words = { chapter: {} };
  document.querySelectorAll("#all-claims section").forEach((section) => {
    const record = section.querySelector("div.record");
    if (record) words.chapter[value(record, "chapter")] = section.querySelector("h3").firstChild.textContent;
  });

  const form = document.createElement("form");
  form.className = "filters";
  form.setAttribute("role", "search");
  form.addEventListener("submit", (event) => event.preventDefault());
  const selects = Object.entries(prefixes).map(([key, all]) => {
    const select = document.createElement("select");
    select.name = key;
    select.setAttribute("aria-label", all);
    select.add(new Option(all, ""));
    [...new Set(records.map((record) => value(record, key)))].forEach((name) => {
      const plain = name.slice(key.length + 1).replaceAll("-", " ");
      select.add(new Option((words[key] || {})[name] || plain, name));
    });
    form.append(select);
    return select;
  });
  const word = Object.assign(document.createElement("input"), { type: "search", placeholder: "A word" });
  word.setAttribute("aria-label", "A word");
  const told = document.createElement("output");
  form.append(word, told);
  place.before(form);

  const apply = () => {
    const classes = selects.map((select) => select.value).filter(Boolean);
    const text = word.value.trim().toLowerCase();
    const active = classes.length > 0 || text !== "";
    records.forEach((record) => {
      const fits = classes.every((name) => record.classList.contains(name));
      record.hidden = !(fits && record.textContent.toLowerCase().includes(text));
    });
    document.querySelectorAll("#all-claims details").forEach((details) => { details.open = active; });
    document.querySelectorAll("#all-claims section, #what-does-not-hold section").forEach((section) => {
      section.hidden = !section.querySelector("div.record:not([hidden])");
    });
    const shown = document.querySelectorAll("#all-claims div.record:not([hidden])").length;
    told.textContent = active ? `${shown} claims` : "";
  };
  form.addEventListener("input", apply);
})();
