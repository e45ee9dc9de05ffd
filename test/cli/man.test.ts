// SPDX-License-Identifier: MIT
/** The manual pages say all that the program takes, and nothing else. */

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { PACKAGE_ROOT } from "../../src/base/place.js";
import { program } from "../../src/cli/main.js";
import { configSchema, type Part } from "../../src/launch/config.js";

const MAN = join(PACKAGE_ROOT, "man");
const page = (name: string): string => readFileSync(join(MAN, name), "utf8");

const ioreqd = program(() => {});
const help = ioreqd.createHelp();
const commands = help.visibleCommands(ioreqd);

/** The text of each subsection (.Ss), and before the first, of ioreqd(1)'s description of commands. */
function sections(text: string): Map<string, string> {
  const [, body = ""] = text.split(/^\.Sh COMMANDS$/m);
  const [, ...parts] = (body.split(/^\.Sh /m)[0] as string).split(/^\.Ss /m);
  return new Map(parts.map((part) => [part.split("\n")[0] as string, part]));
}

/** "-d", "--domid", …: the options that have an item of their own. mdoc(7): "Fl -domid" is --domid. */
function optionsIn(text: string): string[] {
  const items = text.match(/^\.It Fl .*$/gm) ?? [];
  return items.flatMap((item) => [...item.matchAll(/Fl (\S+)/g)].map(([, name]) => `-${name}`));
}

/** Its own, and those of the commands below it, each once. */
const spellings = (command: Command): string[] => {
  const below = command === ioreqd ? [] : command.commands.flatMap(spellings);
  const own = help.visibleOptions(command).flatMap(({ short, long }) => [short, long]);
  return [...new Set([...own.filter((name): name is string => name != null), ...below])];
};

/** Those of every command, which the page has once. */
const COMMON = ["-h", "--help"];

test("ioreqd(1) has a section for each command", () => {
  expect([...sections(page("ioreqd.1")).keys()].sort()).toEqual(commands.map((command) => command.name()).sort());
});

test.each(commands.map((command) => [command.name(), command] as const))(
  "ioreqd(1) has the options of %s",
  (name, command) => {
    const own = spellings(command).filter((option) => !COMMON.includes(option));
    expect(optionsIn(sections(page("ioreqd.1")).get(name) ?? "").sort()).toEqual(own.sort());
  },
);

test("ioreqd(1) has the options without a command", () => {
  const [description = ""] = page("ioreqd.1").split(/^\.Sh COMMANDS$/m);
  expect(optionsIn(description).sort()).toEqual(spellings(ioreqd).sort());
});

test("ioreqd(1) has the values of each option that takes one of a few", () => {
  for (const command of commands) {
    const text = sections(page("ioreqd.1")).get(command.name()) ?? "";
    for (const { argChoices = [], long } of command.options) {
      const [, after = ""] = text.split(`Fl ${long?.slice(1)} `);
      for (const choice of argChoices) expect([long, after]).toEqual([long, expect.stringContaining(`.Cm ${choice}`)]);
    }
  }
});

test("ioreqd.conf(5) has each key of the configuration, and no other", () => {
  const listed = [...page("ioreqd.conf.5").matchAll(/^\.It Ic (\S+)$/gm)].map(([, key]) => key as string);
  expect(listed.sort()).toEqual(keysOf(configSchema as Part).sort());
});

/** All keys, of inner objects too. `options` holds what a device takes. */
function keysOf({ wrapped, item, entries, options }: Part): string[] {
  if (wrapped !== undefined) return keysOf(wrapped);
  if (item !== undefined) return keysOf(item);
  if (options !== undefined) return (options as Part[]).flatMap(keysOf);
  return Object.entries(entries ?? {}).flatMap(([key, inner]) => [key, ...keysOf(inner)]);
}

const hasMandoc = spawnSync("mandoc", ["-V"]).status !== null;
(hasMandoc ? test : test.skip).each(readdirSync(MAN))("mandoc finds no mistake in %s (apt install mandoc)", (name) => {
  const { stdout } = spawnSync("mandoc", ["-T", "lint", "-W", "warning", join(MAN, name)], { encoding: "utf8" });
  expect(stdout).toBe("");
});
