// SPDX-License-Identifier: MIT
/** npm run test:xen: builds a dom0, boots it under QEMU, installs ioreqd in it and runs the suites. */

import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { hasCode, IoreqdError, messageOf } from "../../../src/base/errors.js";
import { bootLab, keptLab, type Lab } from "./boot.js";
import { type DebianRelease, RELEASES } from "./debian.js";
import type { Dom0 } from "./dom0.js";
import { dom0Image } from "./dom0-image.js";
import { guestDisk } from "./guest-image.js";
import { KEPT_LAB, LOGS, ROOT } from "./lab-files.js";
import { GUEST_DISK, installPackage, preparePackage } from "./package.js";
import { prerequisites } from "./prerequisites.js";
import { step } from "./progress.js";

const USAGE = `npm run test:xen -- [OPTION…]
  --install         install missing Debian packages (as root)
  --debian 12|13    the Debian of dom0 and the guest (12)
  --only PATTERN    suites whose file name matches
  --keep            leave the lab running; how to use it is printed
  --reuse           use the lab that was kept: install ioreqd anew, and run the suites
  --no-suites       boot and install only
  --stop            end the lab that was kept
  --logs DIR        where logs go (${path.relative(ROOT, LOGS)})
  --minutes N       give up after so long (20)
`;

const OPTIONS = {
  install: { type: "boolean" },
  debian: { type: "string", default: "12" },
  only: { type: "string" },
  keep: { type: "boolean" },
  reuse: { type: "boolean" },
  "no-suites": { type: "boolean" },
  stop: { type: "boolean" },
  logs: { type: "string", default: LOGS },
  minutes: { type: "string", default: "20" },
  help: { type: "boolean" },
} as const;

async function main(): Promise<number> {
  const { values: options } = parseArgs({ options: OPTIONS });
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (options.stop) return stopKept();

  const release = RELEASES.find(({ version }) => version === options.debian);
  if (release === undefined) throw new IoreqdError("LAB_OPTION_INVALID", `--debian ${options.debian}: 12 or 13`);
  await prerequisites(options.install === true, step);
  const [{ image, guest }, packaged] = await Promise.all([images(release), preparePackage(step)]);

  const lab = options.reuse ? await reused() : await boot(image, options.logs);
  let passed = false;
  // What stops us stops the lab, unless it was there before.
  const giveUp = (why: string) => {
    step(`giving up: ${why}`);
    void lab.stop().finally(() => process.exit(1));
  };
  const deadline = setTimeout(() => giveUp(`${options.minutes} minutes are over`), Number(options.minutes) * 60_000);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => giveUp(signal));
  try {
    await installPackage(lab.dom0, packaged, step);
    await lab.dom0.put(guest, GUEST_DISK);
    step("ready");
    passed = options["no-suites"] ? true : await suites(lab.dom0, options.only);
  } finally {
    clearTimeout(deadline);
    if (options.keep || options.reuse) {
      lab.keep();
      process.stdout.write(KEPT);
    } else await lab.stop();
  }
  step(passed ? "passed" : `failed; logs are in ${path.relative(process.cwd(), options.logs)}`);
  return passed ? 0 : 1;
}

const KEPT = `The lab goes on.
  node dist/test/real-xen/lab/shell.js 'xl list'    a command in dom0
  npm run test:xen -- --reuse --only boot           the package anew, and suites
  npm run test:xen -- --stop                        its end
`;

async function images(release: DebianRelease) {
  const image = await dom0Image(release, step);
  return { image, guest: await guestDisk(image, step) };
}

async function boot(image: Awaited<ReturnType<typeof dom0Image>>, logs: string): Promise<Lab> {
  const kept = await keptLab();
  if (kept !== null) {
    kept.close();
    throw new IoreqdError("LAB_KEPT", "this clone keeps a lab already: --reuse it, or --stop it first");
  }
  step("booting Xen and dom0");
  const lab = await bootLab(image, path.resolve(logs));
  step("dom0 is up");
  return lab;
}

async function reused(): Promise<Lab> {
  const dom0 = await keptLab();
  if (dom0 === null) throw new IoreqdError("LAB_GONE", "this clone keeps no lab: start one with --keep");
  const close = () => dom0.close();
  return { dom0, keep: close, stop: async () => close() };
}

async function stopKept(): Promise<number> {
  const dom0 = await keptLab();
  await dom0?.endLab();
  rmSync(KEPT_LAB, { force: true });
  step(dom0 === null ? "this clone keeps no lab" : "the lab has ended");
  return 0;
}

/** In band: there is one machine. */
function suites(dom0: Dom0, only: string | undefined): Promise<boolean> {
  const args = [path.join(ROOT, "node_modules/jest/bin/jest.js"), "--config", "jest.real-xen.config.cjs", "--runInBand"];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...args, ...(only === undefined ? [] : [only])], {
      cwd: ROOT,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, IOREQD_LAB: dom0.files.directory },
    });
    child.on("exit", (status) => resolve(status === 0));
  });
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const code = error instanceof IoreqdError ? `${error.code}: ` : "";
    step(`failed: ${code}${messageOf(error)}`);
    process.exit(hasCode(error, "LAB_OPTION_INVALID") || !existsSync(ROOT) ? 2 : 1);
  },
);
