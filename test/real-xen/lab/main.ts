// SPDX-License-Identifier: MIT
/** npm run test:xen: builds a dom0, boots it under QEMU, installs ioreqd in it and runs the suites. */

import { rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { hasCode, IoreqdError, messageOf } from "../../../src/base/errors.js";
import { bootLab, currentLabs, type Lab, refuseSecond, reuseLab } from "./boot.js";
import { RELEASES } from "./debian.js";
import { dom0Image } from "./dom0-image.js";
import { evidence } from "./evidence.js";
import { failureSummary, type SuiteResult } from "./failures.js";
import { guestFiles } from "./guest-image.js";
import { guestModules } from "./guest-modules.js";
import { LOGS, ROOT } from "./lab-files.js";
import { GUEST_DISK, GUEST_INITRAMFS, installPackage, NATIVE_DISK, preparePackage } from "./package.js";
import { prerequisites } from "./prerequisites.js";
import { step } from "./progress.js";
import { guestLines, qemuVersion } from "./qemu.js";
import { runSuites, suiteGroups } from "./suites.js";

const USAGE = `npm run test:xen -- [OPTION…]
  --install         install missing Debian packages (as root)
  --debian 12|13    the Debian of dom0 and the guest (12)
  --only PATTERN    suites whose file name matches
  --keep            leave the lab running; how to use it is printed
  --reuse           use the lab that runs already: end its guests, install ioreqd anew, run the suites
  --no-suites       boot and install only
  --stop            end the lab of this clone
  --labs N          labs beside each other, which share the suites (two, where there are four processors)
  --dom0-cpus N     processors of dom0 (1); guests have one more
  --logs DIR        where logs go (${path.relative(ROOT, LOGS)})
  --minutes N       give up after so long (45)
`;

const KEPT = `The lab goes on.
  node dist/test/real-xen/lab/shell.js 'xl list'    a command in dom0
  npm run test:xen -- --reuse --only boot           the package anew, and suites
  npm run test:xen -- --stop                        its end
`;

/** Host memory of a lab. */
const LAB_BYTES = 5 * 2 ** 30;
/** There are not enough suites of some length for more. */
const MOST_LABS = 2;

const OPTIONS = {
  install: { type: "boolean", default: false },
  debian: { type: "string", default: "12" },
  only: { type: "string" },
  keep: { type: "boolean", default: false },
  reuse: { type: "boolean", default: false },
  "no-suites": { type: "boolean", default: false },
  stop: { type: "boolean", default: false },
  labs: { type: "string" },
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
  const dom0Cpus = upTo8("--dom0-cpus", values["dom0-cpus"]);
  const isOne = values.keep || values.reuse || values["no-suites"];
  const labs = upTo8("--labs", values.labs ?? (isOne ? "1" : String(roomFor(dom0Cpus))));
  if (isOne && labs > 1)
    throw new IoreqdError("LAB_OPTION_INVALID", `--labs ${labs}: with --keep, --reuse and --no-suites it is one`);
  return { ...values, release, minutes, dom0Cpus, labs, logs: path.resolve(values.logs) };
}

function upTo8(option: string, value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1 && number <= 8) return number;
  throw new IoreqdError("LAB_OPTION_INVALID", `${option} ${value}: 1 to 8`);
}

/** Labs that are faster beside each other than one after the other. A lab has a thread for each processor of its machine. */
function roomFor(dom0Cpus: number): number {
  const room = Math.min(os.availableParallelism() / (dom0Cpus + 1), os.freemem() / LAB_BYTES);
  return Math.min(MOST_LABS, Math.max(1, Math.floor(room)));
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

  const labs: Lab[] = [];
  let results: SuiteResult[][] = [];
  let passed = false;
  try {
    const work = async () => {
      const groups = suiteGroups(options.only);
      await prerequisites(options.install, step);
      const lines = guestLines(await qemuVersion(), options.release);
      const [image, packaged] = await Promise.all([dom0Image(options.release, step), preparePackage(step)]);
      const guest = await guestFiles(image, await guestModules(options.release, image, step), step);
      if (options.reuse) labs.push(await reuseLab(options.logs));
      else {
        await refuseSecond();
        step(`booting Xen and dom0${options.labs > 1 ? `, ${options.labs} times` : ""}`);
        if (options.labs > 1) rmSync(options.logs, { recursive: true, force: true });
        const machine = { image, dom0Cpus: options.dom0Cpus, guestLines: lines };
        const boot = async (logs: string) => labs.push(await bootLab(machine, logs));
        await Promise.all(logsOf(options).map(boot));
      }
      step("dom0 is up");
      await Promise.all(
        labs.map(async ({ dom0 }) => {
          await installPackage(dom0, packaged, step);
          await dom0.put(guest.plain, GUEST_DISK);
          await dom0.put(guest.native, NATIVE_DISK);
          await dom0.put(guest.initramfs, GUEST_INITRAMFS);
        }),
      );
      if (options["no-suites"]) return true;
      const dom0s = labs.map(({ dom0 }) => dom0);
      results = await runSuites(dom0s, groups, stop.signal);
      const tests = results.flat().reduce((sum, suite) => sum + suite.passed, 0);
      const failures = results.flat().flatMap((suite) => suite.failures);
      step(`${tests} passed, ${failures.length} failed`);
      return failures.length === 0;
    };
    passed = await Promise.race([work(), aborted]);
    return passed;
  } finally {
    clearTimeout(deadline);
    clearInterval(orphaned);
    await finish(options, labs, results, passed, stop.signal.aborted);
  }
}

/** Where each lab's logs go. */
const logsOf = ({ labs, logs }: Options): string[] =>
  labs === 1 ? [logs] : Array.from({ length: labs }, (_, n) => path.join(logs, String(n + 1)));

async function finish(
  options: Options,
  labs: readonly Lab[],
  results: readonly SuiteResult[][],
  passed: boolean,
  aborted: boolean,
): Promise<void> {
  for (const [at, lab] of labs.entries()) {
    const gone = lab.dom0.ended !== null;
    const isWell = passed || (results[at]?.every(({ failures }) => failures.length === 0) ?? false);
    if (!isWell && !gone) process.stderr.write(`${evidence(lab.dom0.files)}\n`);
    if ((options.keep || options.reuse) && !aborted && !gone) {
      lab.keep();
      if (options.keep) process.stdout.write(KEPT);
    } else await lab.stop();
  }
  // Without a lab of ours there may still be one that boots: it ends with this process.
  if (labs.length === 0) return;
  const failures = failureSummary(results.flat());
  if (failures !== "") process.stderr.write(`${failures}\n`);
  step(passed ? "passed" : `failed; logs are in ${path.relative(process.cwd(), options.logs)}`);
}

async function stopCurrent(): Promise<void> {
  const labs = await currentLabs();
  await Promise.all(labs.map((dom0) => dom0.endLab()));
  step(labs.length === 0 ? "this clone runs no lab" : "the lab has ended");
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const code = error instanceof IoreqdError ? `${error.code}: ` : "";
    step(`failed: ${code}${messageOf(error)}`);
    process.exit(hasCode(error, "LAB_OPTION_INVALID") ? 2 : 1);
  },
);
