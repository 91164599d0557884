/* Asks every two seconds whether something new arrived, and if so takes the live parts of
   this page anew. Without it the pages work by reloading. */
(() => {
  "use strict";
  const root = document.documentElement;
  const status = document.getElementById("live");
  const poll = new URL(root.dataset.poll, location.href);
  let last = Number(root.dataset.last);
  let failures = 0;
  poll.searchParams.set("limit", "0");

  const localTimes = (part) => {
    for (const time of part.querySelectorAll("time")) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      time.title = time.textContent;
      time.textContent = moment.toLocaleString(undefined, {
        dateStyle: "medium",
        timeStyle: "medium",
      });
    }
  };

  const say = (text) => {
    if (status.textContent === text) return;
    status.hidden = false;
    status.textContent = text;
  };

  const refresh = async () => {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh) continue;
      const focused = part.contains(document.activeElement)
        ? document.activeElement.closest("details[id]")?.id
        : undefined;
      const before = new Set([...part.querySelectorAll(".entry")].map((entry) => entry.id));
      for (const open of part.querySelectorAll("details[open][id]")) {
        fresh.querySelector(`#${open.id}`)?.setAttribute("open", "");
      }
      if (before.size) {
        for (const entry of fresh.querySelectorAll(".entry")) {
          if (!before.has(entry.id)) entry.classList.add("new");
        }
      }
      localTimes(fresh);
      part.replaceChildren(...fresh.childNodes);
      if (focused) part.querySelector(`#${focused} > summary`)?.focus();
    }
  };

  const look = async () => {
    try {
      if (!document.hidden) {
        const answer = await fetch(poll, { cache: "no-store" });
        if (!answer.ok) throw new Error(String(answer.status));
        const news = await answer.json();
        if (news.newest !== last) {
          await refresh();
          last = news.newest;
        }
        failures = 0;
        say("Live: new entries appear by themselves.");
      }
    } catch {
      failures += 1;
      say("The sandbox does not answer. Trying again…");
    }
    setTimeout(look, Math.min(2000 * 2 ** failures, 30000));
  };

  localTimes(document);
  setTimeout(look, 1000);
})();
