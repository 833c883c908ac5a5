// Opens a report in headless Chromium and checks what a reader needs of it. Called by
// scripts/check-report.sh:
//
//   node check.mjs FOLDER VERIFICATION OUT [--plant]
//
// FOLDER holds report.html and what lies beside it, VERIFICATION is what
// `bgm verify --format json` prints for the same store, OUT gets screenshots and the PDF.
// With --plant the page is broken in each way of plants.mjs, one at a time, and each must be
// found: a check that cannot fail proves nothing. Exit code 1 if anything is wrong.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { accessibility, claims, layout, links, look, numbers, pdf, provenance } from "./page.mjs";
import { archive } from "./archive.mjs";
import { plants } from "./plants.mjs";

const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
// Chromium as root has no sandbox; the rest keeps it from talking to anyone.
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/// All problems of one folder. `thorough` adds what no planted mistake needs again: the dark
/// colours, the phone's accessibility, pictures.
async function problems(browser, folder, verification, out) {
  const found = [];
  const url = pathToFileURL(join(folder, "report.html")).href;
  const open = async (options) => {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    page.on("console", (m) => m.type() === "error" && found.push(`console error: ${m.text()}`));
    page.on("pageerror", (e) => found.push(`script error: ${e.message}`));
    await page.route("**/*", (route) => {
      if (route.request().url().split("#")[0] === url) return route.continue();
      found.push(`request: the page asks for ${route.request().url()}`);
      return route.abort();
    });
    await page.goto(url);
    return page;
  };
  const add = (more) => found.push(...more);

  const desktop = await open({ viewport: DESKTOP });
  add(await claims(desktop, verification));
  add(await numbers(desktop));
  add(await provenance(desktop));
  if (out) await look(desktop, join(out, "desktop"));
  add(await links(desktop));
  add(await accessibility(desktop, "desktop"));
  const phone = await open({ viewport: PHONE, isMobile: true, hasTouch: true, deviceScaleFactor: 2 });
  add(await layout(phone, PHONE.width));
  if (out) {
    await look(phone, join(out, "phone"));
    add(await accessibility(phone, "phone"));
    const dark = await open({ viewport: DESKTOP, colorScheme: "dark" });
    await look(dark, join(out, "dark"));
    add(await accessibility(dark, "dark"));
    await dark.context().close();
  }
  const paper = await open({ viewport: DESKTOP });
  add(await pdf(paper, out && join(out, "report.pdf")));
  for (const page of [desktop, phone, paper]) await page.context().close();
  add(archive(folder));
  return [...new Set(found)];
}

/// Breaks a copy of the report in each known way; what is not found is a problem, and so is
/// anything that is found in the unbroken one.
async function planted(browser, folder, verification) {
  const before = await problems(browser, folder, verification, null);
  const missed = before.map((problem) => `unbroken: ${problem}`);
  const html = readFileSync(join(folder, "report.html"), "utf8");
  for (const plant of plants) {
    const copy = mkdtempSync(join(tmpdir(), "bgm-report-"));
    const broken = plant.change(html);
    if (broken === html) missed.push(`${plant.name}: there was nothing to break`);
    cpSync(folder, copy, { recursive: true });
    writeFileSync(join(copy, "report.html"), broken);
    const found = await problems(browser, copy, verification, null);
    const hit = found.find((problem) => problem.startsWith(plant.finds));
    if (hit) console.log(`found  ${plant.name}: ${hit.slice(0, 120)}`);
    else missed.push(`${plant.name}: not found`);
    rmSync(copy, { recursive: true });
  }
  return missed;
}

const [folder, verificationFile, out, flag] = process.argv.slice(2);
const verification = JSON.parse(readFileSync(verificationFile, "utf8"));
mkdirSync(out, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: FLAGS,
});
try {
  const run = flag === "--plant" ? planted : problems;
  const found = await run(browser, resolve(folder), verification, resolve(out));
  for (const problem of found) console.error(`PROBLEM ${problem}`);
  console.log(`${found.length} problems (${flag === "--plant" ? "planted mistakes" : folder})`);
  process.exitCode = found.length > 0 ? 1 : 0;
} finally {
  await browser.close();
}
