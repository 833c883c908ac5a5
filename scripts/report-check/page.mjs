// What is checked of the open page. Every function gives its problems as sentences that
// begin with the name of the check.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const openAll = (page) =>
  page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));

/// Every claim of the profile stands in the verdict table with its verdict, and has details.
export const claims = (page, verification) =>
  page.evaluate((claims) => {
    const problems = [];
    const plain = (text) => text.replace(/\s+/g, " ").trim();
    const rows = [...document.querySelectorAll("#claims ~ .scroll tr, [aria-labelledby=claims] tr")];
    const first = document.querySelector("main > section");
    if (first?.getAttribute("aria-labelledby") !== "claims") {
      problems.push("claims: the verdicts are not the first section");
    }
    for (const claim of claims) {
      const row = rows.find((r) => r.querySelector("th[scope=row]")?.textContent === claim.id);
      const text = plain(row?.textContent ?? "");
      if (!row) problems.push(`claims: ${claim.id} has no row`);
      const shown = plain(row?.querySelector(".verdict")?.textContent ?? "");
      // The blessed verdict stands in the same row and must not be taken for this one.
      if (row && shown.split(" ").at(-1) !== claim.verdict) {
        problems.push(`claims: ${claim.id} shows "${shown}", not "${claim.verdict}"`);
      }
      for (const part of [plain(claim.statement), plain(claim.reason)]) {
        if (row && !text.includes(part)) problems.push(`claims: ${claim.id} does not say "${part}"`);
      }
      const details = document.getElementById(`claim-${claim.id}`);
      if (!details) problems.push(`claims: ${claim.id} has no details`);
      else if (!plain(details.textContent).includes(plain(claim.margin_reason))) {
        problems.push(`claims: ${claim.id} does not defend its margin`);
      }
    }
    return problems;
  }, verification.claims);

/// Published, expected and this run stand side by side in every experiment; each number
/// links to runs, and each run has its spec, its seed and the command that redoes it.
export const numbers = (page) =>
  page.evaluate(() => {
    const problems = [];
    const ids = [...document.querySelectorAll("nav a")].map((a) => a.hash.slice(1));
    const sections = ids.filter((id) => !["claims", "regression", "provenance"].includes(id));
    if (sections.length === 0) problems.push("numbers: no experiment");
    for (const id of sections) {
      const section = document.getElementById(id)?.closest("section");
      const tables = [...(section?.querySelectorAll("table") ?? [])];
      const heads = (table) => [...table.querySelectorAll("thead th")].map((th) => th.textContent.trim());
      const long = tables.find((t) => heads(t).join("|").includes("Published|Expected|This run"));
      if (!long) {
        problems.push(`numbers: ${id} does not set published, expected and this run side by side`);
        continue;
      }
      for (const row of long.querySelectorAll("tbody tr")) {
        const value = row.querySelector("td.mark")?.textContent.trim() ?? "(no column)";
        const runs = [...row.querySelectorAll('a[href^="#run-"]')];
        if (value && runs.length === 0) problems.push(`numbers: ${id}: "${value}" links to no run`);
      }
      for (const cell of section.querySelectorAll("table.numbers td.n")) {
        const isWide = cell.closest("table") !== long;
        if (isWide && /\d/.test(cell.textContent) && !cell.querySelector("a, .why")) {
          problems.push(`numbers: ${id}: "${cell.textContent.trim()}" links to no run`);
        }
      }
    }
    for (const run of document.querySelectorAll("[id^=run-]")) {
      const text = run.textContent;
      const stored = !text.includes("Not in the store");
      if (!text.includes("bgm ") || (stored && !/Seed \d+/.test(text)) || (stored && !run.querySelector("pre"))) {
        problems.push(`numbers: ${run.id} lacks its seed, its spec or the command that redoes it`);
      }
    }
    return problems;
  });

/// Device, numerics, commit and the data's hashes.
export const provenance = (page) =>
  page.evaluate(() => {
    const section = document.getElementById("provenance")?.closest("section");
    const rows = [...(section?.querySelectorAll("dt") ?? [])].map((dt) => [
      dt.textContent.trim(),
      dt.nextElementSibling?.textContent.trim() ?? "",
    ]);
    const wanted = [
      [/^Verified on$/, /\w/], [/^Numerics$/, /^(portable-\d+|libtorch \d)/], [/^Verified by commit$/, /^([0-9a-f]{7,}\+?|unknown: .+)$/],
      [/^Training semantics$/, /^\d+$/], [/^Data: /, /^([0-9a-f]{64}|generated from the spec)$/], [/^Redo everything$/, /make|bgm/],
      [/runs? made on$/, /portable-\d|libtorch \d/],
    ];
    return wanted
      .filter(([label, value]) => !rows.some(([dt, dd]) => label.test(dt) && value.test(dd)))
      .map(([label]) => `provenance: nothing (or nothing sensible) under ${label}`);
  });

/// Every link leads to a place in the page, which shows once it is followed; ids are unique.
export const links = async (page) => {
  const problems = await page.evaluate(() => {
    const problems = [];
    const seen = new Set();
    for (const { id } of document.querySelectorAll("[id]")) {
      if (seen.has(id)) problems.push(`links: two places have the id ${id}`);
      seen.add(id);
    }
    for (const link of document.querySelectorAll("a")) {
      const href = link.getAttribute("href") ?? "";
      if (!href.startsWith("#") || !seen.has(decodeURIComponent(href.slice(1)))) {
        problems.push(`links: "${link.textContent.trim()}" leads to ${href || "nothing"}`);
      }
    }
    return problems;
  });
  // Following a link opens what hides its target: a sample of all kinds, in turn.
  const targets = await page.evaluate(() => {
    const all = [...new Set([...document.querySelectorAll("main a")].map((a) => a.getAttribute("href")))];
    return all.filter((_, place) => place % Math.ceil(all.length / 60) === 0);
  });
  for (const target of targets.filter((t) => t?.startsWith("#"))) {
    const shows = await page.evaluate(async (target) => {
      document.querySelectorAll("details").forEach((d) => (d.open = false));
      location.hash = target;
      await new Promise((done) => setTimeout(done, 30));
      const place = document.getElementById(decodeURIComponent(target.slice(1)));
      return !place || place.checkVisibility();
    }, target);
    if (!shows) problems.push(`links: ${target} stays hidden when it is followed`);
  }
  await page.evaluate(() => history.replaceState(null, "", location.pathname));
  return problems;
};

/// axe-core's serious and critical findings with everything unfolded, and what axe does not
/// look at: contrast and names inside the pictures.
export const accessibility = async (page, where) => {
  await openAll(page);
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    axe.run(document, { resultTypes: ["violations"], reporter: "v2" }),
  );
  const problems = [];
  for (const { id, impact, nodes } of violations) {
    if (impact !== "serious" && impact !== "critical") continue;
    const node = nodes[0];
    const why = (node.failureSummary ?? "").replace(/\s+/g, " ").slice(0, 200);
    problems.push(`axe ${id} (${where}, ${impact}, ${nodes.length} places): ${node.target} ${why}`);
  }
  const drawn = await page.evaluate(() => {
    const problems = [];
    const linear = (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    const luminance = (rgb) => {
      const [r, g, b] = rgb.match(/[\d.]+/g).map((x) => linear(Number(x) / 255));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    for (const svg of document.querySelectorAll("svg")) {
      const title = svg.querySelector("title")?.textContent.trim();
      if (svg.getAttribute("role") !== "img" || !title) {
        problems.push("picture: an svg has no role or no title for a screen reader");
      }
      // What lies below a text is the last filled rectangle around its middle before it.
      const rectangles = [...svg.querySelectorAll("rect")].filter(
        (r) => getComputedStyle(r).fill !== "none" && Number(r.getAttribute("opacity") ?? 1) > 0.5,
      );
      const boxes = rectangles.map((r) => [r, r.getBBox()]);
      for (const text of svg.querySelectorAll("text")) {
        const box = text.getBBox();
        const middle = new DOMPoint(box.x + box.width / 2, box.y + box.height / 2).matrixTransform(
          svg.getScreenCTM().inverse().multiply(text.getScreenCTM()),
        );
        const below = boxes.filter(
          ([r, b]) =>
            r.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING &&
            b.x <= middle.x && middle.x <= b.x + b.width && b.y <= middle.y && middle.y <= b.y + b.height,
        );
        const paper = below.length ? getComputedStyle(below.at(-1)[0]).fill : "rgb(255, 255, 255)";
        const [a, b] = [luminance(getComputedStyle(text).fill), luminance(paper)];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) {
          problems.push(`picture: "${text.textContent.trim()}" in "${title}" has a contrast of ${contrast.toFixed(1)}`);
        }
      }
    }
    return problems;
  });
  return [...problems, ...drawn];
};

/// Nothing is wider than the screen, folded or unfolded.
export const layout = async (page, width) => {
  const measure = (how) =>
    page.evaluate(
      ({ width, how }) => {
        const wide = document.documentElement.scrollWidth;
        return wide <= width ? [] : [`layout: ${how}, the page is ${wide} pixels wide on a screen of ${width}`];
      },
      { width, how },
    );
  const folded = await measure("folded");
  await openAll(page);
  const problems = [...folded, ...(await measure("unfolded"))];
  await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = false)));
  return problems;
};

/// Prints, with nothing cut off at the paper's edge.
export const pdf = async (page, path) => {
  const bytes = await page.pdf({ format: "A4", ...(path && { path }) });
  const problems = [];
  if (bytes.subarray(0, 5).toString() !== "%PDF-" || bytes.length < 20_000) {
    problems.push("print: there is no PDF worth the name");
  }
  // The text area of A4 with Chromium's margins, in CSS pixels.
  await page.setViewportSize({ width: 718, height: 1000 });
  await page.emulateMedia({ media: "print" });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  if (wide > 718) problems.push(`print: ${wide} pixels wide on paper of 718`);
  return problems;
};

/// Pictures for human eyes: the first screen and the whole page.
export const look = async (page, stem) => {
  await page.screenshot({ path: `${stem}-top.png` });
  await page.screenshot({ path: `${stem}-whole.png`, fullPage: true });
};
