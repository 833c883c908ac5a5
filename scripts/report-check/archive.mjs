// The machine-readable manifest beside the page, checked as an archive would read it.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/// RO-Crate 1.1: descriptor, root with what is required, every file listed with its true
/// size and SHA-256, and every reference defined.
export function archive(folder) {
  const path = join(folder, "ro-crate-metadata.json");
  if (!existsSync(path)) return ["archive: ro-crate-metadata.json is missing"];
  const crate = JSON.parse(readFileSync(path, "utf8"));
  const entities = new Map(crate["@graph"].map((entity) => [entity["@id"], entity]));
  const problems = [];
  const say = (problem) => problems.push(`archive: ${problem}`);
  if (entities.size !== crate["@graph"].length) say("two entities have one @id");
  const descriptor = entities.get("ro-crate-metadata.json");
  if (descriptor?.about?.["@id"] !== "./" || !descriptor.conformsTo) say("no descriptor of the root");
  const root = entities.get("./") ?? {};
  for (const field of ["name", "description", "datePublished", "license"]) {
    if (!root[field]) say(`the root has no ${field}`);
  }
  if (root.datePublished && !/^\d{4}-\d\d-\d\d/.test(root.datePublished)) say("datePublished is no date");
  const listed = new Set((root.hasPart ?? []).map((part) => part["@id"]));
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  for (const file of files.filter((file) => file !== "ro-crate-metadata.json")) {
    const entity = entities.get(file);
    if (!listed.has(file) || !entity) {
      say(`${file} is not listed`);
      continue;
    }
    const content = readFileSync(join(folder, file));
    const digest = createHash("sha256").update(content).digest("hex");
    if (entity.sha256 !== digest) say(`${file} has another SHA-256 than listed`);
    if (Number(entity.contentSize) !== content.length) say(`${file} has another size than listed`);
  }
  for (const file of listed) if (!existsSync(join(folder, file))) say(`${file} is listed and missing`);
  const references = (value) =>
    Array.isArray(value) ? value.flatMap(references)
      : value && typeof value === "object" ? (value["@id"] ? [value["@id"]] : []) : [];
  for (const entity of entities.values()) {
    for (const id of Object.entries(entity).filter(([key]) => key !== "@id").flatMap(([, v]) => references(v))) {
      if (!entities.has(id) && !id.startsWith("https://")) say(`${entity["@id"]} refers to ${id}, which is not there`);
    }
  }
  return problems;
}
