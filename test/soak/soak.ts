// SPDX-License-Identifier: MIT
/** A guest that is served by one process after the other, each of which is killed; and what became of it. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Arena } from "../../src/state/arena.js";
import { dyingAt, type FaultPoint } from "../takeover/fault-points.js";
import { type Launched, Supervised } from "../takeover/supervised.js";
import { held, wanted } from "./claimed.js";
import { type Death, Deaths } from "./deaths.js";
import type { Finish } from "./guest/index.js";
import { HotDevice } from "./hot-device.js";
import { bareNode, countDescriptors, cpuTime, median, sum } from "./measure.js";
import { type Bar, deviceArguments, HOT_BAR, RAM, VCPUS } from "./places.js";
import { Random } from "./random.js";
import { type Arrived, compareStream } from "./serial-stream.js";

export interface SoakOptions {
  readonly kills: number;
  readonly seed: number;
  /** Die at these points and nowhere else. */
  readonly points?: readonly FaultPoint[];
  /** How long a process may take to its point, in ms; then it is killed where it is. */
  readonly patience?: number;
  /** Called after each kill. */
  readonly onKill?: (kills: number) => void;
}

export interface SoakResult {
  /** What is wrong; empty when nothing is. */
  readonly problems: readonly string[];
  readonly kills: number;
  /** By where they were, the most frequent first. */
  readonly killsBy: ReadonlyMap<string, number>;
  /** Milliseconds from the start of a process to ready, of those that became it. */
  readonly takeOvers: readonly number[];
  /** Milliseconds of processor time that they took for it. */
  readonly startCpu: readonly number[];
  /** Milliseconds that Node.js takes for a program that does nothing, here and now. */
  readonly bareNode: number;
  /** Milliseconds of accesses that waited for a process, sorted. */
  readonly pauses: readonly number[];
  readonly verified: Readonly<Record<string, number>>;
  readonly serial: Arrived | null;
  readonly hot: { readonly added: number; readonly removed: number; readonly unanswered: number };
  readonly seconds: number;
}

const PATIENCE_MS = 3000;
/** The guest comes to its end, or something waits for ever. */
const GUEST_MS = 60_000;
/** Xen hears of a process's end a moment after we do. */
const SETTLE_MS = 2000;
const FIRST_GUESS_MS = 300;
/** For a time limit that may never come: it keeps nobody waiting. */
const UNREFERENCED = { ref: false } as const;

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const run = new Soak(options);
  try {
    return await run.run();
  } finally {
    await run.close();
  }
}

class Soak {
  readonly #options: SoakOptions;
  readonly #all: Supervised;
  readonly #words: Int32Array;
  readonly #deaths: Deaths;
  readonly #hot: HotDevice;
  readonly #killsBy = new Map<string, number>();
  readonly #takeOvers: number[] = [];
  readonly #startCpu: number[] = [];
  readonly #problems: string[] = [];
  #launches = 0;
  #kills = 0;
  #guestEnded = false;

  constructor(options: SoakOptions) {
    this.#options = options;
    this.#all = new Supervised({ file: join(__dirname, "guest", "index.js") }, [], {
      vcpus: VCPUS,
      words: [String(options.seed)],
      verbose: false,
      moreArguments: (directory) => deviceArguments(join(directory, "serial")),
    });
    const { ram } = this.#all.host;
    this.#words = new Int32Array(ram.buffer);
    this.#deaths = new Deaths(new Random(options.seed), options.points ?? null);
    this.#hot = new HotDevice(this.#all.path("state/1/control"));
  }

  async run(): Promise<SoakResult> {
    const began = performance.now();
    const all = this.#all;
    await all.guest.loaded;
    void all.guest.done.then(() => {
      this.#guestEnded = true;
    });
    const first = this.#launch();
    if ((await first.ready) === null) throw new Error(`the first process ended (${await first.ended}): ${all.stderr}`);
    // Guest memory is opened when a device uses it for the first time.
    const descriptors = countDescriptors(first.pid) + 1;
    all.begin();
    await all.step("soaking", VCPUS);
    this.#hot.begin();
    await all.end();
    this.#count("at any moment", 1);
    while (this.#kills < this.#options.kills && !this.#guestEnded) {
      const death = this.#deaths.next(median(this.#takeOvers) ?? FIRST_GUESS_MS);
      this.#count(await this.#dieBy(death), 1);
      this.#options.onKill?.(this.#kills);
    }
    const last = this.#launch();
    if ((await last.ready) === null) this.#problems.push(`the last process ended (${await last.ended}): ${all.stderr}`);
    const finishes = await this.#endGuest();
    if (last.readyAt !== null) await this.#lookAtServer(finishes, last.pid, descriptors);
    await this.#endServer();
    const verified = sum(finishes.map((finish) => finish.verified));
    const serial = finishes.length < VCPUS ? null : this.#lookAtSerial(verified["serial bytes"] ?? 0);
    const { added, removed, unanswered } = this.#hot;
    return {
      problems: this.#problems,
      kills: this.#kills,
      killsBy: new Map([...this.#killsBy].sort(([, a], [, b]) => b - a)),
      takeOvers: this.#takeOvers.slice(1).sort((a, b) => a - b),
      startCpu: this.#startCpu.slice(1).sort((a, b) => a - b),
      bareNode: bareNode(),
      pauses: finishes.flatMap(({ pauses }) => pauses).sort((a, b) => a - b),
      verified,
      serial,
      hot: { added, removed, unanswered },
      seconds: (performance.now() - began) / 1000,
    };
  }

  async close(): Promise<void> {
    await this.#hot.stop().catch(() => {});
    await this.#all.close();
  }

  #launch(environment: NodeJS.ProcessEnv = {}): Launched {
    this.#launches += 1;
    // The guest may be sent a message once more for each.
    Atomics.store(this.#words, RAM.launches >>> 2, this.#launches);
    const launched = this.#all.launch(environment);
    void launched.ready.then(() => {
      if (launched.readyAt === null) return;
      this.#takeOvers.push(launched.readyAt - launched.spawnedAt);
      const ms = cpuTime(launched.pid);
      if (ms !== null) this.#startCpu.push(ms);
    });
    return launched;
  }

  /** Start a process that dies so; returns where it died. */
  async #dieBy(death: Death): Promise<string> {
    if ("at" in death) {
      const launched = this.#launch(dyingAt(death.at, death.nth));
      const byItself = await Promise.race([
        launched.ended.then(() => true),
        setTimeout(this.#options.patience ?? PATIENCE_MS, false, UNREFERENCED),
      ]);
      if (!byItself) await this.#all.end();
      else await this.#blameUnlessKilled(launched);
      return byItself ? death.at : `at any moment (not soon ${death.at})`;
    }
    const launched = this.#launch();
    if (death.after === "ready" && (await launched.ready) === null) await this.#blameUnlessKilled(launched);
    await setTimeout(death.ms);
    const isReady = launched.readyAt !== null;
    await this.#all.end();
    return isReady ? "at any moment" : "at any moment before it is ready";
  }

  async #blameUnlessKilled({ ended }: Launched): Promise<void> {
    const how = await ended;
    if (how !== "SIGKILL") this.#problems.push(`a process ended (${how}): ${this.#lastWords()}`);
  }

  #lastWords(): string {
    return `${this.#all.stderr.slice(-500)} ${JSON.stringify(this.#all.log.slice(-3))}`;
  }

  #count(where: string, kills: number): void {
    this.#kills += kills;
    this.#killsBy.set(where, (this.#killsBy.get(where) ?? 0) + kills);
  }

  /** Let it do its last rounds and its final checks. Resolves with what each vCPU tells. */
  async #endGuest(): Promise<Finish[]> {
    const all = this.#all;
    await this.#hot.stop().catch((error: Error) => this.#problems.push(error.message));
    Atomics.store(this.#words, RAM.stop >>> 2, 1);
    const outcome = await Promise.race([all.guest.done, setTimeout(GUEST_MS, null, UNREFERENCED)]);
    if (outcome === null) this.#problems.push(`the guest does not end: a vCPU waits`);
    for (const { vcpu, state, message } of outcome?.vcpus ?? []) {
      if (state !== "finished") this.#problems.push(`vCPU ${vcpu}: ${message}`);
    }
    if (all.host.crashReason !== null) this.#problems.push(`Xen crashed the domain: ${all.host.crashReason}`);
    const soaked = all.reports.filter(({ text }) => text === "soaked").sort((a, b) => a.vcpu - b.vcpu);
    return soaked.map(({ detail }) => detail as unknown as Finish);
  }

  /** What the server has in Xen is what the guest's BARs say, and what the ledger says; and the process has not more open than the first. */
  async #lookAtServer(finishes: readonly Finish[], pid: number, descriptors: number): Promise<void> {
    const { host } = this.#all;
    const isThere = await this.#hot.list().catch((error: Error) => {
      this.#problems.push(error.message);
      return false;
    });
    if (finishes.length < VCPUS) return;
    const movers = finishes.map(({ mover }) => mover);
    const ranges = host.ranges(this.#serverId());
    // Nobody but the function that comes and goes has memory there; whether it has an address now, only its registers say.
    const hotDecodes = ranges.some(({ type, start }) => type === 1 && start === BigInt(HOT_BAR.at));
    const hot: readonly Bar[] | null = isThere ? (hotDecodes ? [HOT_BAR] : []) : null;
    this.#same("Xen has", held(ranges), wanted(movers, hot));
    const claims = this.#arena().ledger.claims();
    const uncertain = claims.filter(({ state }) => state !== "held");
    if (uncertain.length > 0) this.#problems.push(`the ledger is not sure of ${JSON.stringify(uncertain)}`);
    const types = { pio: 0, mmio: 1, function: 2, window: 3 } as const;
    const ledger = claims.map(({ kind, first, last }) => ({
      type: types[kind],
      start: BigInt(first),
      end: BigInt(last),
    }));
    this.#same("the ledger has", held(ledger), held(ranges));
    const { servers } = host.counters();
    if (servers !== 1) this.#problems.push(`${servers} ioreq servers where 1 was due`);
    // A connection of ours may be about to be closed.
    const until = performance.now() + SETTLE_MS;
    while (countDescriptors(pid) > descriptors && performance.now() < until) await setTimeout(5);
    const open = countDescriptors(pid);
    if (open > descriptors)
      this.#problems.push(`the last process has ${open} descriptors open, the first ${descriptors}`);
  }

  #same(who: string, actual: readonly string[], expected: readonly string[]): void {
    const more = actual.filter((one) => !expected.includes(one));
    const less = expected.filter((one) => !actual.includes(one));
    if (more.length > 0) this.#problems.push(`${who} too much: ${more.join(", ")}`);
    if (less.length > 0) this.#problems.push(`${who} too little: ${less.join(", ")}`);
  }

  /** Ended as usual it leaves nothing behind. */
  async #endServer(): Promise<void> {
    const all = this.#all;
    const code = await all.end("SIGTERM");
    if (code !== 0) this.#problems.push(`the last process ended with ${code} after SIGTERM: ${this.#lastWords()}`);
    const left = (): string => {
      const { servers, ranges, clients } = all.host.counters();
      return `${servers} servers, ${ranges} ranges, ${clients} connections, ${all.host.mappedPages} mapped pages`;
    };
    const until = performance.now() + SETTLE_MS;
    while (/[1-9]/.test(left()) && performance.now() < until) await setTimeout(5);
    if (/[1-9]/.test(left())) this.#problems.push(`left behind: ${left()}`);
  }

  #lookAtSerial(sent: number): Arrived {
    const arrived = compareStream(readFileSync(this.#all.path("serial")), sent);
    if (arrived.foreignAt !== null) this.#problems.push(`serial: byte ${arrived.foreignAt} was never sent there`);
    if (arrived.lost > 0) this.#problems.push(`serial: ${arrived.lost} of ${sent} bytes are lost`);
    if (arrived.repeated > this.#kills) {
      this.#problems.push(`serial: ${arrived.repeated} bytes came again, with ${this.#kills} kills`);
    }
    return arrived;
  }

  #arena(): Arena {
    const bytes = readFileSync(this.#all.path("state/1/state"));
    return Arena.open(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer);
  }

  #serverId(): number {
    return this.#arena().header("ioservid");
  }
}
