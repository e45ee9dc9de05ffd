// SPDX-License-Identifier: MIT
/** npm run test:xen: builds a dom0, boots it under QEMU, installs ioreqd in it and runs the suites. */

import path from "node:path";
import { parseArgs } from "node:util";
import { hasCode, IoreqdError, messageOf } from "../../../src/base/errors.js";
import { bootLab, currentLab, type Lab, reuseLab } from "./boot.js";
import { RELEASES } from "./debian.js";
import { dom0Image } from "./dom0-image.js";
import { evidence } from "./evidence.js";
import { failedSuites, failureSummary } from "./failures.js";
import { guestFiles } from "./guest-image.js";
import { guestModules } from "./guest-modules.js";
import { LOGS, ROOT } from "./lab-files.js";
import { GUEST_DISK, GUEST_INITRAMFS, installPackage, NATIVE_DISK, preparePackage } from "./package.js";
import { prerequisites } from "./prerequisites.js";
import { step } from "./progress.js";
import { runSuites } from "./suites.js";

const USAGE = `npm run test:xen -- [OPTION…]
  --install         install missing Debian packages (as root)
  --debian 12|13    the Debian of dom0 and the guest (12)
  --only PATTERN    suites whose file name matches
  --keep            leave the lab running; how to use it is printed
  --reuse           use the lab that runs already: end its guests, install ioreqd anew, run the suites
  --no-suites       boot and install only
  --stop            end the lab of this clone
  --dom0-cpus N     processors of dom0 (1); guests have one more
  --logs DIR        where logs go (${path.relative(ROOT, LOGS)})
  --minutes N       give up after so long (45)
`;

const KEPT = `The lab goes on.
  node dist/test/real-xen/lab/shell.js 'xl list'    a command in dom0
  npm run test:xen -- --reuse --only boot           the package anew, and suites
  npm run test:xen -- --stop                        its end
`;

const OPTIONS = {
  install: { type: "boolean", default: false },
  debian: { type: "string", default: "12" },
  only: { type: "string" },
  keep: { type: "boolean", default: false },
  reuse: { type: "boolean", default: false },
  "no-suites": { type: "boolean", default: false },
  stop: { type: "boolean", default: false },
  "dom0-cpus": { type: "string", default: "1" },
  logs: { type: "string", default: LOGS },
  minutes: { type: "string", default: "45" },
  help: { type: "boolean", default: false },
} as const;

type Options = ReturnType<typeof optionsOf>;

function optionsOf(args: readonly string[]) {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const release = RELEASES.find(({ version }) => version === values.debian);
  const minutes = Number(values.minutes);
  if (release === undefined) throw new IoreqdError("LAB_OPTION_INVALID", `--debian ${values.debian}: 12 or 13`);
  if (!(minutes > 0)) throw new IoreqdError("LAB_OPTION_INVALID", `--minutes ${values.minutes}: a number above 0`);
  const dom0Cpus = Number(values["dom0-cpus"]);
  if (!Number.isInteger(dom0Cpus) || dom0Cpus < 1 || dom0Cpus > 8)
    throw new IoreqdError("LAB_OPTION_INVALID", `--dom0-cpus ${values["dom0-cpus"]}: 1 to 8`);
  return { ...values, release, minutes, dom0Cpus, logs: path.resolve(values.logs) };
}

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  if (options.help) process.stdout.write(USAGE);
  else if (options.stop) await stopCurrent();
  else return (await run(options)) ? 0 : 1;
  return 0;
}

async function run(options: Options): Promise<boolean> {
  const stop = new AbortController();
  const deadline = setTimeout(() => stop.abort(`${options.minutes} minutes are over`), options.minutes * 60_000);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort(signal));
  // npm does not pass a signal on to what it runs: that its shell has gone is all we get to see.
  const parent = process.ppid;
  const orphaned = setInterval(() => process.ppid !== parent && stop.abort("whoever started it has gone"), 1_000);
  const aborted = new Promise<never>((_resolve, reject) => {
    stop.signal.addEventListener("abort", () => {
      reject(new IoreqdError("LAB_GIVEN_UP", `giving up: ${stop.signal.reason}`));
    });
  });
  aborted.catch(() => {});

  let lab: Lab | null = null;
  let passed = false;
  try {
    const work = async () => {
      await prerequisites(options.install, step);
      const [image, packaged] = await Promise.all([dom0Image(options.release, step), preparePackage(step)]);
      const guest = await guestFiles(image, await guestModules(options.release, image, step), step);
      lab = options.reuse ? await reuseLab(options.logs) : await bootLab(image, options.dom0Cpus, options.logs, step);
      await installPackage(lab.dom0, packaged, step);
      await lab.dom0.put(guest.plain, GUEST_DISK);
      await lab.dom0.put(guest.native, NATIVE_DISK);
      await lab.dom0.put(guest.initramfs, GUEST_INITRAMFS);
      return options["no-suites"] || (await runSuites(lab.dom0, options.only, stop.signal));
    };
    passed = await Promise.race([work(), aborted]);
    return passed;
  } finally {
    clearTimeout(deadline);
    clearInterval(orphaned);
    await finish(options, lab, passed, stop.signal.aborted);
  }
}

async function finish(options: Options, lab: Lab | null, passed: boolean, aborted: boolean): Promise<void> {
  // Without a lab of ours there may still be one that boots: it ends with this process.
  if (lab === null) return;
  const gone = lab.dom0.ended !== null;
  const failures = passed ? "" : failureSummary(failedSuites(lab.dom0.files));
  if (!passed && !gone) process.stderr.write(`${evidence(lab.dom0.files)}\n`);
  if ((options.keep || options.reuse) && !aborted && !gone) {
    lab.keep();
    if (options.keep) process.stdout.write(KEPT);
  } else await lab.stop();
  if (failures !== "") process.stderr.write(`${failures}\n`);
  step(passed ? "passed" : `failed; logs are in ${path.relative(process.cwd(), options.logs)}`);
}

async function stopCurrent(): Promise<void> {
  const dom0 = await currentLab();
  await dom0?.endLab();
  step(dom0 === null ? "this clone runs no lab" : "the lab has ended");
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const code = error instanceof IoreqdError ? `${error.code}: ` : "";
    step(`failed: ${code}${messageOf(error)}`);
    process.exit(hasCode(error, "LAB_OPTION_INVALID") ? 2 : 1);
  },
);
