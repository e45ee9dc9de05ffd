// SPDX-License-Identifier: MIT
/** Hours of a guest's life in minutes, looked at all the time: nothing may grow. */

import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { control } from "../../../src/control/client.js";
import type { SimCounters } from "../../../src/sim/addon.js";
import { SIM_DOMID } from "../../../src/sim/host.js";
import { SimXenstored } from "../../../src/sim/xenstored.js";
import { Supervised } from "../../takeover/supervised.js";
import { countDescriptors } from "../measure.js";
import { AT, HOT_SPEC } from "../places.js";
import { type FigureName, HEAP_PAGE_BYTES, type Judged, judge, type MemorySample, type Sample } from "./figures.js";
import { DONE_AT, EVERY_MINUTES, TAKEOVER_EVERY_H, TICK_S, TICKS_PER_HOUR, UNTIL_TAKEOVERS } from "./rates.js";

export interface DayOptions {
  readonly hours: number;
  /** How much faster than the real one the devices' clock is. */
  readonly faster: number;
  /** Devices beside the usual ones, as --device takes them. */
  readonly more?: readonly string[];
  readonly onHour?: (hour: number) => void;
}

export interface DayResult {
  readonly problems: readonly string[];
  /** Of the guest's work, and real seconds. */
  readonly hours: number;
  readonly seconds: number;
  /** What happened, by name. */
  readonly brought: Readonly<Record<string, number>>;
  readonly judged: readonly Judged[];
}

const SAMPLES = 64;
/** A guest that does not come on for so long does not come on. */
const GRACE_MS = 60_000;
const LOOK_MS = 5;

export async function day(options: DayOptions): Promise<DayResult> {
  const all = await Day.make(options);
  try {
    return await all.run();
  } finally {
    await all.close();
  }
}

class Day {
  readonly #options: DayOptions;
  readonly #all: Supervised;
  readonly #store: SimXenstored;
  readonly #ticks: number;
  readonly #done: Int32Array;
  readonly #samples: Sample[] = [];
  readonly #problems: string[] = [];
  readonly #since = process.hrtime.bigint();
  readonly #did = { commands: 0, "serial clients": 0, "devices added and removed": 0, "take-overs": 0 };
  #began = 0;
  #over = false;
  /** Nobody is asked while one process takes over from another, and that waits for who has asked. */
  #turn: Promise<unknown> = Promise.resolve();

  static async make(options: DayOptions): Promise<Day> {
    const ticks = Math.ceil(options.hours * TICKS_PER_HOUR);
    const all = new Supervised({ file: join(__dirname, "guest.js") }, devices(options.more ?? []), {
      vcpus: 1,
      words: [String(ticks), String((TICK_S * 1000) / options.faster)],
      verbose: false,
      moreArguments: (directory) => [
        "--watchdog",
        "0",
        "--device",
        `pci-serial,addr=${AT.serial},chardev=unix:${directory}/serial`,
      ],
    });
    return new Day(options, all, ticks, await SimXenstored.listen(all.path("xenstored")));
  }

  private constructor(options: DayOptions, all: Supervised, ticks: number, store: SimXenstored) {
    this.#options = options;
    this.#all = all;
    this.#ticks = ticks;
    this.#done = new Int32Array(all.host.ram.buffer, DONE_AT, 1);
    this.#store = store;
    store.introduce(SIM_DOMID, "guest");
  }

  async run(): Promise<DayResult> {
    const { hours } = this.#options;
    const all = this.#all;
    await all.guest.loaded;
    await this.#start();
    all.begin();
    await all.step("begun");
    this.#began = performance.now();
    const done = all.guest.done.then((outcome) => {
      this.#over = true;
      return outcome;
    });
    const others = [
      this.#every(EVERY_MINUTES.command / 60, () => this.#command()),
      this.#every(EVERY_MINUTES.client / 60, () => this.#client()),
      this.#every(EVERY_MINUTES.hotPlug / 60, () => this.#hotPlug()),
      this.#every(hours / SAMPLES, () => this.#sample()),
      this.#takeOvers(),
    ].map((one) => one.catch((error: Error) => this.#problems.push(error.message)));
    const outcome = await Promise.race([done, this.#stands()]);
    this.#over = true;
    await Promise.all(others);
    if (outcome === null) this.#problems.push("the guest does not come to its end");
    for (const { state, message } of outcome?.vcpus ?? []) {
      if (state !== "finished") this.#problems.push(`the guest: ${message}`);
    }
    const seconds = (performance.now() - this.#began) / 1000;
    const brought = this.#brought(all.host.counters());
    await this.#end();
    const judged = judge(this.#samples);
    for (const { figure, what } of judged) if (what !== null) this.#problems.push(`${figure.name} ${what}`);
    return { problems: this.#problems, hours: this.#hour(), seconds, brought, judged };
  }

  async close(): Promise<void> {
    this.#over = true;
    this.#store.close();
    await this.#all.close();
  }

  /** Resolves when the guest has stood still for too long. */
  async #stands(): Promise<null> {
    for (let before = -1; before !== this.#hour(); ) {
      before = this.#hour();
      await setTimeout(GRACE_MS, null, { ref: false });
    }
    return null;
  }

  /** Of what the guest has to do; the devices' clock is there, or further where this machine is busy. */
  #hour(): number {
    return Atomics.load(this.#done, 0) / TICKS_PER_HOUR;
  }

  async #start(): Promise<void> {
    await this.#all.start({
      NODE_OPTIONS: `--require=${join(__dirname, "clock.js")}`,
      IOREQD_CLOCK: String(this.#options.faster),
      IOREQD_CLOCK_SINCE: String(this.#since),
      IOREQD_SAMPLE: this.#all.path("sample"),
      XENSTORED_PATH: this.#store.path,
    });
  }

  /** Do it again and again, so many simulated hours apart, until the guest has ended. */
  async #every(hours: number, act: () => Promise<void>): Promise<void> {
    for (let n = 1; !this.#over; n += 1) {
      await this.#until(n * hours);
      if (!this.#over) await this.#alone(act);
    }
  }

  /** One after the other. */
  #alone(act: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(act);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #until(hour: number): Promise<void> {
    while (!this.#over && this.#hour() < hour) await setTimeout(LOOK_MS);
  }

  async #command(): Promise<void> {
    await control(this.#all.path("state/1/control"), this.#did.commands % 2 === 0 ? "device.list" : "version");
    this.#did.commands += 1;
  }

  /** Comes, reads a little, and goes. */
  async #client(): Promise<void> {
    const socket = createConnection(this.#all.path("serial"));
    const data = new Promise<void>((resolve, reject) => socket.once("data", () => resolve()).once("error", reject));
    await Promise.race([data, this.#all.guest.done]);
    socket.destroy();
    this.#did["serial clients"] += 1;
  }

  async #hotPlug(): Promise<void> {
    const socket = this.#all.path("state/1/control");
    await control(socket, "device.add", { spec: HOT_SPEC });
    await control(socket, "device.remove", { id: "hot", force: true });
    this.#did["devices added and removed"] += 1;
  }

  async #takeOvers(): Promise<void> {
    const { hours } = this.#options;
    for (let at = hours * UNTIL_TAKEOVERS; at < hours; at += TAKEOVER_EVERY_H) {
      await this.#until(at);
      if (this.#over) return;
      await this.#alone(async () => {
        await this.#all.end();
        await this.#start();
      });
      this.#did["take-overs"] += 1;
    }
  }

  async #sample(): Promise<void> {
    const { pid } = this.#all;
    const file = this.#all.path(`sample.${pid}`);
    process.kill(pid, "SIGUSR2");
    let text: string | null = null;
    while (text === null) {
      await setTimeout(2);
      text = readIfThere(file);
    }
    rmSync(file);
    const memory = JSON.parse(text) as MemorySample;
    const { host, log, stderr } = this.#all;
    const { servers, ranges, clients } = host.counters();
    const state = this.#all.path("state");
    const values: Record<FigureName, number> = {
      "resident memory, KiB": residentKib(pid) - memory.youngBytes / 1024,
      "V8 heap, KiB": memory.heapUsed / 1024,
      "external memory, KiB": memory.external / 1024,
      "array buffers, KiB": memory.arrayBuffers / 1024,
      descriptors: countDescriptors(pid),
      mappings: readFileSync(`/proc/${pid}/maps`, "utf8").split("\n").length - 1 - memory.youngBytes / HEAP_PAGE_BYTES,
      "pages of the guest": host.mappedPages,
      "ioreq servers": servers,
      "ranges of Xen": ranges,
      "connections to Xen": clients,
      "state file, KiB": statSync(join(state, "1", "state")).blocks / 2,
      "files of the state": readdirSync(state, { recursive: true }).length,
      "keys of xenstore": Object.keys(this.#store.values("/")).length,
      "lines of the log, an hour": log.length + stderr.split("\n").length,
    };
    const before = Math.floor(this.#samples.at(-1)?.hour ?? 0);
    this.#samples.push({ hour: this.#hour(), pid, values });
    if (Math.floor(this.#hour()) > before) this.#options.onHour?.(Math.floor(this.#hour()));
  }

  #brought(counters: SimCounters): Record<string, number> {
    const { pio, copy, pciConfig, buffered, msiOps, intxOps, rangesMapped } = counters;
    return {
      ticks: this.#ticks,
      "accesses of ports": pio,
      "accesses of memory": copy,
      "accesses of configuration space": pciConfig,
      "buffered writes": buffered,
      messages: msiOps,
      "line changes": intxOps,
      "ranges mapped": rangesMapped,
      ...this.#did,
      "lines of the log": this.#all.log.length,
    };
  }

  async #end(): Promise<void> {
    const code = await this.#all.end("SIGTERM");
    if (code !== 0) this.#problems.push(`the last process ended with ${code}: ${this.#all.stderr.slice(-500)}`);
    const files = readdirSync(this.#all.path("state"), { recursive: true });
    if (files.length > 0) this.#problems.push(`left behind: ${files.join(", ")}`);
  }
}

const devices = (more: readonly string[]): string[] =>
  [
    `counter,addr=${AT.counter}`,
    `edu,addr=${AT.edu},delay=1000`,
    `msix-probe,addr=${AT.probe}`,
    `${join(__dirname, "..", "ring-witness.js")},addr=${AT.ring}`,
    `counter,addr=${AT.movers[0]}`,
    ...more,
  ].flatMap((spec) => ["--device", spec]);

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** Source: proc(5), status: VmRSS. */
const residentKib = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
