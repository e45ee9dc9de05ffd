// SPDX-License-Identifier: MIT
/** The simulated Xen host: what the command line and other programs use of it. */

export type { SimCounters, SimEventInjection, SimMmcfgWindow, SimRange } from "./addon.js";
export type { CommandExit, CommandOutput } from "./command.js";
export type { VcpuReport } from "./cpu.js";
export type { Bdf, GuestMsi, GuestProgram, GuestVcpu, RepOptions } from "./guest.js";
export { GuestRun, type GuestRunOptions } from "./guest-run.js";
export { builtinGuests, findGuest, type GuestProgramFile } from "./guests/index.js";
export { SIM_DOMID, type SimArch, SimHost, type SimHostOptions } from "./host.js";
export { formatSimResult, type SimProblem, type SimResult } from "./result.js";
export type { AccessKind, RoundTripSummary, RoundTrips } from "./round-trips.js";
export { runSim, type SimEvent, type SimOptions } from "./run-sim.js";
export type { GuestOutcome, VcpuOutcome } from "./vcpu-outcome.js";
