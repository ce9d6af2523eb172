// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// The table of all hosts: filtered, sorted and shown a page at a time, so that thousands of hosts stay quick.
"use strict";
(() => {
  const PAGE = 100;
  const NAME = 0, RING = 1, PRODUCT = 2, BUILD = 3, KB = 4, VERDICT = 6, DETAIL = 7, ACTION = 8, REBOOT = 9, OPEN = 10, PAYLOADS = 12, WHY = 13;
  const SORT_KEYS = [NAME, RING, BUILD, VERDICT, ACTION, OPEN, PAYLOADS, WHY];
  const byId = (id) => document.getElementById(id);
  const words = JSON.parse(byId("words").textContent);
  const hosts = JSON.parse(byId("data").textContent);
  const order = Object.keys(words.verdicts);
  const texts = hosts.map((host) =>
    [host[NAME], host[RING], host[PRODUCT], host[BUILD], host[KB], words.verdicts[host[VERDICT]], host[ACTION], host[WHY]].join(" ").toLowerCase());
  const state = { page: 0, column: null, descending: false };

  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    node.textContent = text;
    if (className) node.className = className;
    return node;
  };

  const compare = (left, right) => {
    if (typeof left === "number") return left - right;
    return String(left).localeCompare(String(right), "en", { numeric: true });
  };

  const selected = () => {
    const parts = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdict = byId("verdict").value;
    const reboot = byId("reboot").checked;
    const found = hosts.filter((host, index) =>
      (!verdict || host[VERDICT] === verdict) && (!reboot || host[REBOOT]) && parts.every((part) => texts[index].includes(part)));
    if (state.column !== null) {
      const key = SORT_KEYS[state.column];
      const value = (host) => (key === VERDICT ? order.indexOf(host[VERDICT]) : host[key]);
      found.sort((a, b) => compare(value(a), value(b)) * (state.descending ? -1 : 1));
    }
    return found;
  };

  const row = (host) => {
    const line = document.createElement("tr");
    const name = make("th", host[NAME]);
    name.scope = "row";
    const level = document.createElement("td");
    level.append(make("span", host[BUILD], "build"), " ", make("span", host[KB], "what"));
    const verdict = document.createElement("td");
    const detail = host[DETAIL] ? ` · ${words.details[host[DETAIL]] || host[DETAIL]}` : "";
    verdict.append(make("span", (words.verdicts[host[VERDICT]] || host[VERDICT]) + detail, `badge v-${host[VERDICT]}`));
    line.append(name, make("td", host[RING]), level, verdict, make("td", host[ACTION], "next"), make("td", host[OPEN] || "", "num"),
      make("td", host[PAYLOADS] || "", "num"), make("td", host[WHY], "why"));
    return line;
  };

  const show = () => {
    const found = selected();
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * PAGE;
    byId("rows").replaceChildren(...found.slice(first, first + PAGE).map(row));
    const range = found.length > PAGE ? `, ${first + 1} to ${Math.min(first + PAGE, found.length)} shown` : "";
    byId("found").textContent = `${found.length} of ${hosts.length} hosts${range}`;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page >= pages - 1;
  };

  const restart = () => { state.page = 0; show(); };

  for (const head of document.querySelectorAll("#table thead th")) {
    const button = make("button", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const column = Number(head.dataset.column);
      state.descending = state.column === column && !state.descending;
      state.column = column;
      for (const other of document.querySelectorAll("#table thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      restart();
    });
  }
  // A view can be linked to: report.html#verdict=blocked&find=web&reboot=1&page=2. The legend's links are such addresses.
  const follow = () => {
    const address = location.hash.slice(1);
    if (!address.includes("=")) return false;
    const wanted = new URLSearchParams(address);
    byId("find").value = wanted.get("find") || "";
    byId("verdict").value = order.includes(wanted.get("verdict")) ? wanted.get("verdict") : "";
    byId("reboot").checked = wanted.get("reboot") === "1";
    state.page = Math.max(0, (Number(wanted.get("page")) || 1) - 1);
    show();
    byId("hosts").scrollIntoView();
    return true;
  };

  byId("find").addEventListener("input", restart);
  byId("verdict").addEventListener("change", restart);
  byId("reboot").addEventListener("change", restart);
  byId("previous").addEventListener("click", () => { state.page -= 1; show(); });
  byId("next").addEventListener("click", () => { state.page += 1; show(); });
  window.addEventListener("hashchange", follow);
  document.querySelector(".controls").hidden = false;
  if (!follow()) show();
})();
