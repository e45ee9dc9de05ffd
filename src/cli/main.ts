// SPDX-License-Identifier: MIT
/** The command line. Each command's code is loaded when it is asked for, so that starting is quick. */

import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { IoreqdError, messageOf } from "../base/errors.js";
import { printable } from "../base/printable.js";
import { isShortage } from "../base/shortage.js";
import { didYouMean } from "../base/suggest.js";
import { version } from "./version.js";

/** Exit codes: something failed; the command line is wrong; a bug of ours (sysexits.h, EX_SOFTWARE). */
const FAILED = 1;
const MISUSED = 2;
const BUG = 70;

const number =
  (what: string, least: number, most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isInteger(value) || value < least || value > most) {
      throw new InvalidArgumentError(`${what}: a whole number from ${least} to ${most} was expected.`);
    }
    return value;
  };

const domidArgument = number("domain id", 0, 0x7fef);
const collect = (value: string, all: string[]): string[] => [...all, value];

/** The command line's definition; `exit` is called with the exit code. */
export function program(exit: (code: number) => void): Command {
  const ioreqd = new Command("ioreqd")
    .description("A device model for Xen guests: serves PCI devices written in TypeScript as an ioreq server.")
    .version(version())
    .enablePositionalOptions()
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : MISUSED))
    .showSuggestionAfterError()
    .showHelpAfterError("(ioreqd --help tells more)");

  /** For whoever looks for a guest that another process serves, or served. */
  const stateDir = [
    "--state-dir <dir>",
    "where the directory of each domain is (default: that of ioreqd.conf, or /run/ioreqd)",
  ] as const;

  ioreqd
    .command("run")
    .description("serve a guest until it ends, or SIGTERM")
    .option("-d, --domid <n>", "the guest's domain id", domidArgument)
    .option("-D, --device <spec>", "a device: NAME or ./module.ts, then ,key=value…; may be repeated", collect, [])
    .option("-c, --config <file>", "a JSON file with devices and settings")
    .option("--state-dir <dir>", "where the state file of each domain lives (default: /run/ioreqd)")
    .addOption(
      new Option("--bufioreq <mode>", "the buffered ring (default: atomic)").choices(["off", "legacy", "atomic"]),
    )
    .option(
      "--poll-window <us>",
      "look for the next request this long before sleeping; 0: never",
      number("microseconds", 0, 100_000),
    )
    .option("--poll-budget <us>", "let timers and sockets in at least this often", number("microseconds", 1, 100_000))
    .option(
      "--watchdog <ms>",
      "end this process when a request takes that long; 0: never (default: 2000)",
      number("milliseconds", 0, 600_000),
    )
    .option(
      "--quarantine <deaths>",
      "leave a device out that ended so many processes; 0: never (default: 2)",
      number("deaths", 0, 100),
    )
    .addOption(
      new Option("--ffi <adapter>", "how C libraries are called (default: koffi)").choices(["koffi", "ffi-napi"]),
    )
    .option(
      "-v, --verbose",
      "-v state changes, -vv every access, -vvv raw requests",
      (_, count: number) => count + 1,
      0,
    )
    .addOption(new Option("--log-format <format>", "default: pretty on a terminal").choices(["auto", "json", "pretty"]))
    .option("--confine", "give up root, other domains and xenstore before the guest's first request is read")
    .option("--restore <file>", "the guest comes from elsewhere: what its devices knew there, as ioreqd save wrote it")
    .addOption(new Option("--successor", "of the process that started this one, once that says so").hideHelp())
    .action(async (flags) => exit(await (await import("./run.js")).run(flags)));

  ioreqd
    .command("dev")
    .description(
      "serve a guest with a device that is worked on, and swap it under the running guest each time it is saved",
    )
    .argument("<spec>", "the device: ./module.ts, then ,key=value…")
    .option("-d, --domid <n>", "the guest's domain id; default: a guest of a simulated Xen", domidArgument)
    .option("-D, --device <spec>", "another device beside it; may be repeated", collect, [])
    .option("--state-dir <dir>", "where the state file of each domain lives (default: /run/ioreqd)")
    .option("-v, --verbose", "as of run", (_, count: number) => count + 1, 0)
    .addOption(new Option("--log-format <format>", "default: pretty on a terminal").choices(["auto", "json", "pretty"]))
    .option("--guest <program>", "without --domid: what the guest of a simulated Xen runs; default: it idles")
    .action(async (spec: string, flags) => exit(await (await import("./dev.js")).dev(spec, flags)));

  ioreqd
    .command("attach")
    .description("serve a guest in the background, under systemd where it runs, and wait until it is served")
    .argument("<guest>", "domain id or name")
    .option("-D, --device <spec>", "a device, beside those of the guest's own file; may be repeated", collect, [])
    .option("--restore <file>", "as of run")
    .action(async (guest: string, flags) => (await import("./launch.js")).attach(guest, flags));

  ioreqd
    .command("save")
    .description("write what the devices of a suspended or paused guest know to a file")
    .argument("<guest>", "domain id or name")
    .argument("[file]", "default: where a guest with this uuid is looked for when it is restored")
    .option(...stateDir)
    .action(async (guest: string, file: string | undefined, flags) =>
      (await import("./save.js")).save(guest, file, flags),
    );

  ioreqd
    .command("abandon")
    .description("end what a dead process left: the guest goes on without its devices, which read as all ones")
    .argument("<domid>", "the guest's domain id", domidArgument)
    .option(...stateDir)
    .action(async (domid: number, flags) => (await import("./abandon.js")).abandon(domid, flags));

  // For bin/ioreqd-dm.
  ioreqd
    .command("dm", { hidden: true })
    .description("start serving the guest that QEMU's arguments name; prints the QEMU to hand over to")
    .argument("[arguments...]", "QEMU's arguments, as libxl writes them")
    .allowUnknownOption()
    .action(async (words: string[]) => exit(await (await import("./launch.js")).deviceModel(words)));

  ioreqd
    .command("demo")
    .description("a whole guest on a simulated Xen: enumerates, drives every device, shows live figures")
    .option("--once", "end when the guest has done everything once; exit code 1 if a step failed")
    .option("--json", "print one summary object instead")
    .option("--vcpus <n>", "vCPUs of the guest", number("vCPUs", 1, 128), 2)
    .action(async (flags) => exit(await (await import("./demo.js")).demo(flags)));

  ioreqd
    .command("sim")
    .description("run COMMAND, any ioreq server, on a simulated Xen with one guest")
    .usage("[options] [-- COMMAND...]")
    .option("--vcpus <n>", "vCPUs of the guest", number("vCPUs", 1, 128), 1)
    .option("--memory <MiB>", "guest memory", number("MiB", 1, 3072), 64)
    .option("--guest <program>", "what the guest runs: a name, a .ts or .js module, or a .so; default: it idles")
    .addOption(new Option("--arch <arch>", "the guest's architecture").choices(["x86", "arm"]).default("x86"))
    .option("--json", "print one summary object instead")
    .argument("[command...]", "the ioreq server and its arguments")
    .passThroughOptions()
    .action(async (command: string[], flags) => exit(await (await import("./sim.js")).sim(command, flags)));

  ioreqd
    .command("devices")
    .description("list the devices there are")
    .action(async () => print((await import("./explain.js")).listDevices()));

  ioreqd
    .command("explain")
    .description("print a device's tables: registers, BARs, options")
    .argument("<device>", "a name, or a path to a module")
    .action(async (name: string) => print((await import("./explain.js")).explainDevice(name)));

  ioreqd
    .command("inspect")
    .description("print the registers of a running guest's devices")
    .argument("<domid>", "the guest's domain id", domidArgument)
    .option(...stateDir)
    .option("--json", "as one object")
    .action(async (domid: number, flags: { stateDir?: string; json?: boolean }) => {
      const { inspectDomain, formatInspection } = await import("./inspect.js");
      const { stateDirOf } = await import("./state-dir.js");
      const inspection = inspectDomain(stateDirOf(flags), domid);
      print(flags.json === true ? JSON.stringify(inspection) : formatInspection(inspection));
    });

  ioreqd
    .command("reload")
    .description(
      "have a new process go on with a guest: another program, changed devices; the guest waits for milliseconds",
    )
    .argument("[domid]", "the guest's domain id, or its name")
    .option("--all", "of all guests that are served, one after the other")
    .option(...stateDir)
    .action(async (guest: string | undefined, flags) => exit(await (await import("./reload.js")).reload(guest, flags)));

  const device = ioreqd.command("device").description("add devices to a guest that runs, remove, revive and list them");
  const served = ["<domid>", "the guest's domain id, or its name"] as const;
  device
    .command("add")
    .description("make a device; the guest finds it when it scans its bus again")
    .argument(...served)
    .argument("<spec>", "NAME or ./module.ts, then ,key=value…")
    .option(...stateDir)
    .action(async (guest: string, spec: string, flags) => (await import("./device.js")).addDevice(guest, spec, flags));
  device
    .command("remove")
    .description("take a device away; where a port can ask the guest, when that has let go of it")
    .argument(...served)
    .argument("<addr>", "its address, or its id")
    .option("--force", "don't ask the guest: at once, whatever it is doing with the device")
    .option(...stateDir)
    .action(async (guest: string, addr: string, flags) =>
      (await import("./device.js")).removeDevice(guest, addr, flags),
    );
  device
    .command("revive")
    .description("let a device in quarantine live again, as after power-on")
    .argument(...served)
    .argument("<addr>", "its address, or its id")
    .option(...stateDir)
    .action(async (guest: string, addr: string, flags) =>
      (await import("./device.js")).reviveDevice(guest, addr, flags),
    );
  device
    .command("list")
    .description("print the devices a guest has now")
    .argument(...served)
    .option(...stateDir)
    .option("--json", "as one object")
    .action(async (guest: string, flags) => (await import("./device.js")).listDevices(guest, flags));

  ioreqd
    .command("doctor")
    .description("what this host has and lacks to run ioreqd, and the fix")
    .action(async () => exit(await (await import("./doctor.js")).doctor()));

  ioreqd
    .command("completion")
    .description("print what completes ioreqd's command line in a shell")
    .addArgument(new Argument("<shell>", "which shell").choices(["bash"]))
    .action(async () => print((await import("./completion.js")).bashCompletion(ioreqd)));

  ioreqd.on("command:*", ([word]: string[]) => {
    const known = ioreqd.commands.map((command) => command.name());
    ioreqd.error(`error: there is no command "${word}"${didYouMean(word ?? "", known)} Commands: ${known.join(", ")}`, {
      exitCode: MISUSED,
    });
  });
  return ioreqd;
}

const print = (text: string): void => void process.stdout.write(`${printable(text)}\n`);

/** Run the command line; sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await program((code) => {
      process.exitCode = code;
    }).parseAsync(argv);
  } catch (error) {
    // Errors of ours are for operators: one line. Anything else is a bug, and keeps its stack; unless the host is short.
    const isShort = isShortage(error) && !(error instanceof IoreqdError);
    const known = isShort ? new IoreqdError("HOST_SHORT", messageOf(error)) : error;
    const isOurs = known instanceof IoreqdError;
    const text = isOurs ? `${known.code}: ${known.message}` : error instanceof Error ? error.stack : messageOf(error);
    process.stderr.write(`ioreqd: ${printable(text ?? "")}\n`);
    process.exitCode = isOurs ? FAILED : BUG;
  }
}
